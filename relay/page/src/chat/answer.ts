/** What a compute node answered, read out of the opened envelope. */

import { isObject } from "../wire/envelope";
import type { Json } from "../wire/envelope";
import { Problem } from "./problem";

export interface NodeRef {
  key: string;
  /** SHA-256 of the key, in hex. */
  fingerprint: string;
  tier: string;
  /** Requests that were before this one when the node was chosen. */
  ahead: number;
}

export interface Answer {
  kind: "answer";
  text: string;
  finish: string;
  tokens: number | null;
  node: NodeRef;
  milliseconds: number;
}

/** Throws Problem: an error that the node sealed, or an answer without text. */
export function answerOf(inner: Json, node: NodeRef, milliseconds: number): Answer {
  const response = inner["api_v1_response"];
  if (!isObject(response)) throw new Problem("bad-answer");
  const { error, message, usage } = response;
  if (isObject(error)) throw nodeProblem(String(error["code"] ?? "unknown"));
  const text = isObject(message) ? message["content"] : null;
  if (typeof text !== "string" || !text.trim()) throw new Problem("bad-answer");
  const tokens = isObject(usage) ? usage["completion_tokens"] : null;
  return {
    kind: "answer",
    text,
    finish: String(response["finish_reason"] ?? ""),
    tokens: Number.isSafeInteger(tokens) ? Number(tokens) : null,
    node,
    milliseconds,
  };
}

function nodeProblem(code: string): Problem {
  if (code === "compute_node_context_window_exceeded") return new Problem("window-exceeded");
  return new Problem("node-error", code);
}
