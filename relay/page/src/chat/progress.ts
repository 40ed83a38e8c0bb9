/** The progress that a compute node seals for the client while it works. */

import type { Json } from "../wire/envelope";
import { isObject } from "../wire/envelope";

export interface Progress {
  sequence: number;
  phase: "preparing" | "prefill" | "generating";
  total: number;
  processed: number;
  generated: number;
}

const PHASES = ["preparing", "prefill", "generating"];
const COUNTS = [
  "sequence", "total_prompt_tokens", "cached_prompt_tokens", "processed_prompt_tokens",
  "generated_tokens", "elapsed_ms",
];

/** Read it out of an opened envelope; null for anything that breaks the rules. */
export function progressOf(inner: Json): Progress | null {
  const given = inner["api_v1_progress"];
  if (!isObject(given)) return null;
  const names = Object.keys(given).sort().join();
  if (names !== [...COUNTS, "phase", "schema_version"].sort().join()) return null;
  if (given["schema_version"] !== 1 || !PHASES.includes(String(given["phase"]))) return null;
  if (!COUNTS.every((name) => isCount(given[name]))) return null;
  const [sequence, total, cached, processed, generated] = COUNTS.map((name) => Number(given[name]));
  if (sequence! < 1 || (total! > 0 && (cached! > processed! || processed! > total!))) return null;
  const phase = given["phase"] as Progress["phase"];
  return { sequence: sequence!, phase, total: total!, processed: processed!, generated: generated! };
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
