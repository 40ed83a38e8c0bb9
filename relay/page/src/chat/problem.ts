/** Every error that the page can show, with what the user can do about it. */

import { BadKey } from "../wire/keys";
import { Unreadable, WrongIdentity } from "../wire/envelope";
import { NoContact, Refusal, TooLarge } from "../wire/relay";

export type Kind =
  | "no-nodes" | "no-match" | "busy" | "draining" | "limited" | "offline" | "relay-error"
  | "node-gone" | "node-silent" | "request-lost" | "expired" | "taken-back" | "refused" | "too-large-request"
  | "wrong-identity" | "unreadable" | "too-large-answer" | "bad-key" | "bad-answer"
  | "node-error" | "window-exceeded" | "insecure" | "unexpected";

export class Problem extends Error {
  constructor(
    readonly kind: Kind,
    readonly detail = "",
    /** Seconds the relay asks to wait. */
    readonly retryAfter: number | null = null,
  ) {
    super(detail ? `${kind}: ${detail}` : kind);
  }
}

export interface Explanation {
  /** What happened. */
  what: string;
  /** What the user can do. */
  todo: string;
}

type Words = (problem: Problem) => Explanation;

const say = (what: string, todo: string): Words => () => ({ what, todo });
const AGAIN = "Ask again; your question is kept.";

const WORDS: Record<Kind, Words> = {
  "no-nodes": say(
    "No compute node is connected to this relay.",
    "Wait for one, or connect your own: see “Connect”.",
  ),
  "no-match": say(
    "No compute node serves this model with this context size.",
    "Choose another model or context size below, then ask again.",
  ),
  busy: say("Every compute node that fits is busy.", "Wait a moment, then ask again."),
  draining: say(
    "The relay is being replaced by a new one.",
    "This takes a few seconds. Nothing is lost.",
  ),
  limited: ({ retryAfter }) => ({
    what: "Too many requests came from your address.",
    todo: retryAfter ? `Ask again in ${duration(retryAfter)}.` : "Wait a while, then ask again.",
  }),
  offline: say(
    "The relay cannot be reached.",
    "Check your connection. The page continues by itself when it is back.",
  ),
  "relay-error": say("The relay has an internal error.", "Ask again in a moment."),
  "node-gone": say("The compute node left before it answered.", AGAIN),
  "node-silent": say("The compute node stopped responding before it answered.", AGAIN),
  "request-lost": say("The relay does not know this request any more; it was restarted.", AGAIN),
  expired: say("No answer arrived before the relay's deadline.", "Ask again, or ask for less at once."),
  "taken-back": say("The request was cancelled.", AGAIN),
  refused: ({ detail }) => ({
    what: `The relay refused the request (${detail}).`,
    todo: "Reload the page: it may be older than the relay.",
  }),
  "too-large-request": say(
    "The conversation is too large for the relay.",
    "Start a new conversation, or ask with less text.",
  ),
  "wrong-identity": ({ detail }) => ({
    what: `The answer is not for this request: it has another ${detail}. It was discarded.`,
    todo: "Messages were mixed up or replayed. Ask again; if it happens again, do not trust this relay.",
  }),
  unreadable: say(
    "The answer cannot be decrypted: it was not encrypted for this page, or was modified in transit. It was discarded.",
    "Ask again; if it happens again, do not trust this relay or node.",
  ),
  "too-large-answer": say("The answer is far too large. It was discarded.", "Ask for less at once."),
  "bad-key": say(
    "The relay selected a compute node whose key cannot be used. Nothing was sent.",
    "Ask again to get another node.",
  ),
  "bad-answer": say("The compute node sent an answer without any text.", "Ask again to try once more."),
  "node-error": ({ detail }) => ({ what: nodeError(detail), todo: nodeAdvice(detail) }),
  "window-exceeded": say(
    "The conversation is too long for the model's context.",
    "Choose the larger context size, shorten the question, or start a new conversation.",
  ),
  insecure: say(
    "This page was loaded without HTTPS, so the browser offers no cryptography.",
    "Open it with https:// in front.",
  ),
  unexpected: ({ detail }) => ({
    what: `The page has an internal error (${detail}).`,
    todo: AGAIN,
  }),
};

export function explain(problem: Problem): Explanation {
  return WORDS[problem.kind](problem);
}

/** A thrown value as a Problem. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof NoContact) return new Problem("offline", error.message);
  if (error instanceof Refusal) return ofRefusal(error);
  if (error instanceof WrongIdentity) return new Problem("wrong-identity", error.field);
  if (error instanceof Unreadable) return new Problem("unreadable");
  if (error instanceof TooLarge) return new Problem("too-large-answer");
  if (error instanceof BadKey) return new Problem("bad-key");
  return new Problem("unexpected", error instanceof Error ? error.name : "unknown");
}

const BY_CODE: Record<string, Kind> = {
  no_registered_compute_nodes: "no-nodes",
  no_matching_compute_node: "no-match",
  invalid_context_tier: "no-match",
  no_available_capacity: "busy",
  queue_full: "busy",
  relay_full: "busy",
  draining: "draining",
};

function ofRefusal({ status, code, reason, retryAfter }: Refusal): Problem {
  const kind = BY_CODE[code];
  if (kind) return new Problem(kind, code, retryAfter);
  if (status === 429) return new Problem("limited", code, retryAfter);
  if (status === 413) return new Problem("too-large-request");
  if (status === 410 && reason === "server_unregistered") return new Problem("node-gone");
  if (status === 410 && code === "expired") return new Problem("expired");
  if (status === 410) return new Problem("taken-back", reason);
  if (status >= 500) return new Problem("relay-error", code, retryAfter);
  return new Problem("refused", code);
}

/** Seconds as a text, such as `2 min 5 s`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Codes that a compute node seals into its answer. */
const NODE: Record<string, [what: string, todo: string]> = {
  compute_node_invalid_request: ["it does not understand the request", "Start a new conversation."],
  compute_node_request_too_large: ["the conversation is too large for it", "Start a new conversation."],
  compute_node_model_unsupported: ["it does not have this model", "Choose another model, or ask again."],
  compute_node_options_unsupported: ["it does not support these options", "Ask again to get another node."],
  compute_node_context_tier_unsupported: ["it does not offer this context size", "Choose another context size."],
  compute_node_context_admission_unavailable: ["it has no memory free for this context", "Ask again in a moment."],
  compute_node_runtime_unavailable: ["its model is not running", "Ask again to get another node."],
  compute_node_invalid_model_output: ["its model returned nothing that can be shown", "Ask again."],
  compute_node_internal_error: ["it has an internal error", "Ask again to get another node."],
  compute_node_process_failed: ["its model crashed", "Ask again to get another node."],
};

function nodeError(code: string): string {
  const known = NODE[code];
  return `The compute node cannot answer: ${known ? known[0] : `it returned the code “${code.slice(0, 60)}”`}.`;
}

function nodeAdvice(code: string): string {
  return NODE[code]?.[1] ?? AGAIN;
}
