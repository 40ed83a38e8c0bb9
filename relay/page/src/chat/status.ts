/** The relay's nodes, models and version: requested rarely, and never by a hidden tab. */

import type { Json } from "../wire/envelope";
import { isObject } from "../wire/envelope";
import { NoContact, Refusal } from "../wire/relay";
import type { RelayApi } from "../wire/relay";
import { DEFAULT_MODEL } from "./settings";
import { Store } from "./store";

export const EVERY_MS = 15_000;
const LEAST_MS = 10_000;
const MAX_MODELS = 64;
const SILENT_LEASES = 2;
const PROBE = /^(tokenplace-)?probe-/;

export interface Served {
  /** Start of the node's fingerprint; empty if the relay does not send it. */
  print: string;
  /** Seconds since the node's last call, and its lease in seconds. */
  age: number;
  lease: number;
  models: string[];
  tier: string;
}

export class RelayStatus extends Store {
  reach: "unknown" | "ok" | "offline" | "draining" = "unknown";
  /** Compute nodes that serve; null while unknown. */
  nodes: number | null = null;
  served: Served[] = [];
  private offered: string[] = [DEFAULT_MODEL];
  release = "";
  private last = -Infinity;
  private listed = false;

  constructor(
    private readonly api: RelayApi,
    private readonly now: () => number,
    private readonly visible: () => boolean,
  ) {
    super();
  }

  /** Refresh if the last refresh is old enough; may be called at any time. */
  async look(): Promise<void> {
    if (!this.visible() || this.now() - this.last < LEAST_MS) return;
    this.last = this.now();
    try {
      this.read(await this.diagnostics());
      if (!this.listed) await this.list();
    } catch (error) {
      this.reach = error instanceof NoContact ? "offline" : this.reach;
    }
    this.emit();
  }

  /** The models that the relay lists or its nodes serve, without those of probes. */
  get models(): string[] {
    const served = this.served.flatMap((one) => one.models).filter((one) => !PROBE.test(one));
    return [...new Set([...this.offered, ...served])].slice(0, MAX_MODELS);
  }

  /** Nodes that serve a model with at least this context; null while unknown. */
  serving(model: string, tier: string): number | null {
    if (this.nodes === null || (this.nodes > 0 && !this.served.length)) return this.nodes;
    const fits = (one: Served): boolean => tier !== "64k-full" || one.tier === "64k-full";
    return this.served.filter((one) => one.models.includes(model) && fits(one)).length;
  }

  /** Whether a node has not called the relay for twice its lease. */
  isSilent(fingerprint: string): boolean {
    const found = this.served.find((one) => one.print && fingerprint.startsWith(one.print));
    return found !== undefined && found.age > SILENT_LEASES * found.lease;
  }

  /** The relay's diagnostics, or else its health. */
  private async diagnostics(): Promise<Json> {
    try {
      return (await this.api.get("/relay/diagnostics")).body;
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 404) throw error;
    }
    try {
      return (await this.api.get("/healthz")).body;
    } catch (error) {
      if (error instanceof Refusal && error.status === 503) return { status: "draining" };
      throw error;
    }
  }

  private read(body: Json): void {
    const total = body["total_api_v1_registered_compute_nodes"] ?? body["knownServers"];
    this.reach = body["status"] === "draining" ? "draining" : "ok";
    if (Number.isSafeInteger(total)) this.nodes = Number(total);
    const entries = body["api_v1_registered_compute_nodes"] ?? body["registered_compute_nodes"];
    this.served = Array.isArray(entries) ? entries.filter(isObject).map(servedBy) : [];
  }

  private async list(): Promise<void> {
    const models = await this.optional("/api/v1/models");
    const meta = await this.optional("/api/v1/meta");
    const data = Array.isArray(models["data"]) ? models["data"].filter(isObject) : [];
    if (data.length) this.offered = data.map((one) => String(one["id"]));
    this.release = String(meta["label"] ?? meta["version"] ?? "").slice(0, 80);
    this.listed = true;
  }

  private async optional(path: string): Promise<Json> {
    try {
      return (await this.api.get(path)).body;
    } catch (error) {
      if (error instanceof Refusal) return {};
      throw error;
    }
  }
}

function servedBy(entry: Json): Served {
  const able = isObject(entry["capabilities"]) ? entry["capabilities"] : {};
  const models = able["supported_model_ids"];
  return {
    print: /^sha256:([0-9a-f]{12,64})$/.exec(String(entry["server_public_key"]))?.[1] ?? "",
    age: Number(entry["age_seconds"] ?? 0),
    lease: Number(entry["next_ping_in_x_seconds"] ?? Infinity),
    models: Array.isArray(models) ? models.filter((one) => typeof one === "string") : [],
    tier: String(able["active_context_tier"] ?? ""),
  };
}
