/** Calls to the relay that served this page. Errors are Refusal or NoContact, nothing else. */

import type { Json } from "./envelope";
import { isObject } from "./envelope";

/** An answer is at most 4 MiB for the relay; this bounds what the page reads of any relay. */
const MAX_BYTES = 8 * 1024 * 1024;
const QUICK_MS = 10_000;

/** The relay refused the call. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly reason: string,
    readonly retryAfter: number | null,
  ) {
    super(`${status} ${code}`);
  }
}

/** The relay did not answer, or not in a way that can be read. */
export class NoContact extends Error {}

/** More bytes than any honest relay sends. */
export class TooLarge extends Error {}

export interface Choice {
  key: string;
  tier: string;
  windowTokens: number;
  ahead: number;
}

export type Retrieved =
  | { kind: "pending"; seconds: number | null; progress: Json | null; held: boolean }
  | { kind: "answer"; envelope: Json };

/** The rate limit that the relay reports, if any. */
export interface Quota {
  limit: number | null;
  remaining: number;
  resetSeconds: number | null;
}

export interface Reply {
  status: number;
  headers: Headers;
  body: Json;
}

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export class RelayApi {
  /** The newest quota of submitting requests; null if the relay reports none. */
  quota: Quota | null = null;

  /** Calls in flight end when `network` fires "offline": a browser would let them hang. */
  constructor(
    private readonly fetcher: Fetch,
    private readonly network: EventTarget = new EventTarget(),
  ) {}

  async select(model: string, tier: string, signal?: AbortSignal): Promise<Choice> {
    const query = new URLSearchParams({ model, context_tier: tier });
    const { body } = await this.get(`/api/v1/relay/servers/next?${query}`, signal);
    return {
      key: text(body["server_public_key"]),
      tier: text(body["selected_context_tier"]),
      windowTokens: count(body["selected_context_window_tokens"]) ?? 0,
      ahead: (count(body["selected_queue_depth"]) ?? 0) + (count(body["selected_in_flight_count"]) ?? 0),
    };
  }

  /** Submit a request; the seconds until its deadline, null if the relay does not report it. */
  async submit(envelope: Json, signal?: AbortSignal): Promise<number | null> {
    const reply = await this.post("requests", envelope, { signal, noteQuota: true });
    return count(reply.body["request_ttl_seconds"]);
  }

  /** The answer, or the state of the request; a relay may hold the call up to `hold` seconds. */
  async retrieve(client: string, id: string, hold: number, signal?: AbortSignal): Promise<Retrieved> {
    const body = { client_public_key: client, request_id: id };
    const headers = { Prefer: `wait=${hold}` };
    const limit = QUICK_MS + hold * 1000;
    const reply = await this.post("responses/retrieve", body, { signal, headers, limit });
    if (reply.status !== 202) return { kind: "answer", envelope: reply.body };
    const progress = reply.body["encrypted_progress"];
    return {
      kind: "pending",
      seconds: count(reply.body["request_deadline_remaining_seconds"]),
      progress: isObject(progress) ? progress : null,
      held: reply.headers.has("Preference-Applied"),
    };
  }

  /** Take a request back; true only when the relay confirms just that. */
  async cancel(body: Json, keepalive = false): Promise<boolean> {
    const reply = await this.post("requests/cancel", body, { keepalive });
    const ended = reply.body["status"] === "cancelled" || reply.body["status"] === "expired";
    return ended && reply.body["request_id"] === body["request_id"];
  }

  async get(path: string, signal?: AbortSignal): Promise<Reply> {
    return this.call(path, { method: "GET", cache: "no-store" }, { signal });
  }

  private async post(route: string, body: Json, options: Options): Promise<Reply> {
    const init: RequestInit = {
      method: "POST",
      headers: { "Content-Type": "application/json", ...options.headers },
      body: JSON.stringify(body),
      keepalive: options.keepalive ?? false,
    };
    return this.call(`/api/v1/relay/${route}`, init, options);
  }

  private async call(path: string, init: RequestInit, options: Options): Promise<Reply> {
    const ours = new AbortController();
    const timer = setTimeout(() => ours.abort(), options.limit ?? QUICK_MS);
    const give = (): void => ours.abort();
    options.signal?.addEventListener("abort", give);
    this.network.addEventListener("offline", give);
    try {
      if (options.signal?.aborted) throw new NoContact("given up");
      const fixed: RequestInit = { credentials: "omit", redirect: "error", referrerPolicy: "no-referrer" };
      const response = await this.fetcher(path, { ...fixed, ...init, signal: ours.signal });
      if (options.noteQuota) this.quota = quotaOf(response.headers);
      return await this.read(response);
    } catch (error) {
      if (error instanceof Refusal || error instanceof TooLarge) throw error;
      throw new NoContact(error instanceof Error ? error.name : "unknown");
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", give);
      this.network.removeEventListener("offline", give);
    }
  }

  private async read(response: Response): Promise<Reply> {
    const raw = await bounded(response);
    let body: unknown = null;
    try {
      body = JSON.parse(raw);
    } catch {
      // A proxy's error page, or something that is no relay.
    }
    if (!response.ok) throw refusalOf(response, body);
    if (!isObject(body)) throw new NoContact("not JSON");
    return { status: response.status, headers: response.headers, body };
  }
}

interface Options {
  signal?: AbortSignal | undefined;
  headers?: Record<string, string>;
  limit?: number;
  keepalive?: boolean;
  noteQuota?: boolean;
}

async function bounded(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  if (!reader) return "";
  const decoder = new TextDecoder();
  const parts: string[] = [];
  for (let size = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) return parts.join("") + decoder.decode();
    size += value.length;
    if (size > MAX_BYTES) {
      await reader.cancel();
      throw new TooLarge("more than 8 MiB");
    }
    parts.push(decoder.decode(value, { stream: true }));
  }
}

function refusalOf(response: Response, body: unknown): Refusal {
  const error = isObject(body) && isObject(body["error"]) ? body["error"] : {};
  const after = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  const code = String(error["code"] ?? response.status);
  const reason = String(error["reason"] ?? "");
  return new Refusal(response.status, code, reason, Number.isFinite(after) ? Math.max(0, after) : null);
}

/** `RateLimit: "name";r=12;t=340` of the newer drafts, or the older three headers. */
export function quotaOf(headers: Headers): Quota | null {
  const field = headers.get("RateLimit") ?? "";
  const remaining = /(?:;\s*r|remaining)=(\d+)/.exec(field)?.[1] ?? headers.get("RateLimit-Remaining");
  if (!remaining || !/^\d+$/.test(remaining)) return null;
  const policy = headers.get("RateLimit-Policy") ?? "";
  const limit = /;\s*q=(\d+)/.exec(policy)?.[1] ?? headers.get("RateLimit-Limit");
  const reset = /(?:;\s*t|reset)=(\d+)/.exec(field)?.[1] ?? headers.get("RateLimit-Reset");
  return { limit: whole(limit), remaining: Number(remaining), resetSeconds: whole(reset) };
}

function whole(given: string | null | undefined): number | null {
  return given && /^\d+$/.test(given.trim()) ? Number(given) : null;
}

function count(given: unknown): number | null {
  return typeof given === "number" && Number.isFinite(given) && given >= 0 ? given : null;
}

function text(given: unknown): string {
  return typeof given === "string" ? given : "";
}
