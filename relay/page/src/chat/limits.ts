/** The limits of compute nodes, shown before a node rejects a request. */

export interface Message {
  role: "user" | "assistant";
  content: string;
}

export const MAX_MESSAGES = 64;
export const MAX_BYTES = 512 * 1024;
export const MAX_OUTPUT = 8192;

export const TIERS = [
  { id: "8k-fast", name: "8k context, fast", tokens: 8192 },
  { id: "64k-full", name: "64k context, full", tokens: 65536 },
] as const;
export type TierId = (typeof TIERS)[number]["id"];
export type TierChoice = TierId | "auto";

/** Room that is left for the answer when the page judges whether a text fits. */
const ANSWER_ROOM = 1024;
const BYTES_PER_TOKEN = 3.5;
const TOKENS_PER_MESSAGE = 6;

export interface Size {
  /** A guess: only the node knows its tokenizer. */
  tokens: number;
  bytes: number;
  /** Messages at the start that are not sent any more, as nodes take 64. */
  dropped: number;
}

/** The messages that will be sent: the newest ones, beginning with one of the person's. */
export function sendable(messages: Message[]): Message[] {
  const kept = messages.slice(-(MAX_MESSAGES - 1));
  return kept.length < messages.length && kept[0]?.role === "assistant" ? kept.slice(1) : kept;
}

export function sizeOf(messages: Message[]): Size {
  const sent = sendable(messages);
  const bytes = sent.reduce((sum, one) => sum + utf8Length(one.content), 0);
  const tokens = Math.ceil(bytes / BYTES_PER_TOKEN) + sent.length * TOKENS_PER_MESSAGE;
  return { tokens, bytes, dropped: messages.length - sent.length };
}

/** The tier to ask for: the smallest in which text and answer should fit. */
export function tierFor(choice: TierChoice, size: Size): TierId {
  if (choice !== "auto") return choice;
  return size.tokens + ANSWER_ROOM <= TIERS[0].tokens ? TIERS[0].id : TIERS[1].id;
}

export type Warning = { level: "note" | "warn" | "stop"; text: string } | null;

/** The warning below the box about the length, and whether a node would reject the request. */
export function lengthWarning(choice: TierChoice, size: Size): Warning {
  if (size.bytes > MAX_BYTES) {
    const over = Math.ceil((size.bytes - MAX_BYTES) / 1024);
    return { level: "stop", text: `Too long by ${over} KB: compute nodes take 512 KB in all.` };
  }
  const limit = choice === "8k-fast" ? TIERS[0].tokens : TIERS[1].tokens;
  const about = `About ${round(size.tokens)} of ${round(limit)} tokens`;
  if (size.tokens > limit) {
    const todo = choice === "8k-fast" ? "choose a larger context" : "start a new conversation";
    return { level: "warn", text: `${about}: probably too long. Shorten it, or ${todo}.` };
  }
  if (size.tokens + ANSWER_ROOM > limit) {
    return { level: "warn", text: `${about}: little room is left for the answer.` };
  }
  if (size.dropped > 0) {
    return { level: "note", text: `The first ${size.dropped} messages are not sent any more: nodes take 64.` };
  }
  return size.tokens * 2 > limit ? { level: "note", text: `${about} are used.` } : null;
}

export function utf8Length(text: string): number {
  let bytes = 0;
  for (const one of text) {
    const point = one.codePointAt(0)!;
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  }
  return bytes;
}

function round(tokens: number): string {
  return tokens < 1000 ? String(tokens) : `${(tokens / 1000).toFixed(1).replace(/\.0$/, "")}k`;
}
