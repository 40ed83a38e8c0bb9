import assert from "node:assert/strict";
import { test } from "node:test";

import { lengthWarning, MAX_BYTES, MAX_MESSAGES, sendable, sizeOf, tierFor, utf8Length } from "../src/chat/limits";
import type { Message } from "../src/chat/limits";
import { duration, explain, Problem, problemOf } from "../src/chat/problem";
import { progressOf } from "../src/chat/progress";
import { fileName, transcript } from "../src/chat/transcript";
import { quotaText } from "../src/view/composer";
import { safeAddress } from "../src/view/markdown";
import { compare } from "../src/view/node-dialog";
import { NoContact, quotaOf, Refusal, RelayApi, TooLarge } from "../src/wire/relay";

const userMessage = (content: string): Message[] => [{ role: "user", content }];

test("the tier grows with the text, unless it was chosen", () => {
  assert.equal(tierFor("auto", sizeOf(userMessage("short"))), "8k-fast");
  assert.equal(tierFor("auto", sizeOf(userMessage("x".repeat(30_000)))), "64k-full");
  assert.equal(tierFor("8k-fast", sizeOf(userMessage("x".repeat(30_000)))), "8k-fast");
});

test("a warning is shown before the text is too long", () => {
  assert.equal(lengthWarning("auto", sizeOf(userMessage("hello"))), null);
  assert.match(lengthWarning("8k-fast", sizeOf(userMessage("x".repeat(16_000))))!.text, /are used/);
  assert.match(lengthWarning("8k-fast", sizeOf(userMessage("x".repeat(26_000))))!.text, /little room/);
  assert.match(lengthWarning("8k-fast", sizeOf(userMessage("x".repeat(40_000))))!.text, /larger context/);
  assert.match(lengthWarning("64k-full", sizeOf(userMessage("x".repeat(300_000))))!.text, /new conversation/);
  const stop = lengthWarning("auto", sizeOf(userMessage("é".repeat(MAX_BYTES / 2 + 2048))));
  assert.deepEqual(stop, { level: "stop", text: "Too long by 4 KB: compute nodes take 512 KB in all." });
});

test("bytes are those of UTF-8", () => {
  for (const text of ["a", "é", "☃", "🦊", "aé☃🦊"]) assert.equal(utf8Length(text), new TextEncoder().encode(text).length);
});

test("of a long conversation the newest messages are sent, beginning with a question", () => {
  const all = Array.from({ length: 101 }, (_, at): Message => ({ role: at % 2 ? "assistant" : "user", content: `${at}` }));
  const sent = sendable(all);
  assert.ok(sent.length < MAX_MESSAGES);
  assert.equal(sent[0]!.role, "user");
  assert.equal(sent.at(-1)!.content, "100");
  assert.match(lengthWarning("auto", sizeOf(all))!.text, /first \d+ messages are not sent/);
});

const PROGRESS = {
  schema_version: 1, sequence: 1, phase: "generating", total_prompt_tokens: 9, cached_prompt_tokens: 3,
  processed_prompt_tokens: 9, generated_tokens: 4, elapsed_ms: 12,
};

test("progress by the rules is read", () => {
  const found = progressOf({ api_v1_progress: PROGRESS });
  assert.deepEqual(found, { sequence: 1, phase: "generating", total: 9, processed: 9, generated: 4 });
});

for (const [name, change] of [
  ["a missing count", { elapsed_ms: undefined }],
  ["a negative count", { generated_tokens: -1 }],
  ["a fraction", { generated_tokens: 0.5 }],
  ["a truth value", { generated_tokens: true }],
  ["sequence zero", { sequence: 0 }],
  ["another schema", { schema_version: 2 }],
  ["an unknown phase", { phase: "dreaming" }],
  ["more processed than there is", { processed_prompt_tokens: 10 }],
  ["more cached than processed", { processed_prompt_tokens: 2 }],
  ["an extra name", { text: "x" }],
] as const) {
  test(`progress with ${name} is passed over`, () => {
    const given = JSON.parse(JSON.stringify({ ...PROGRESS, ...change })) as object;
    assert.equal(progressOf({ api_v1_progress: given }), null);
  });
}

test("every problem has words, and none has an exclamation mark or jargon", () => {
  const kinds = ["no-nodes", "no-match", "busy", "draining", "limited", "offline", "relay-error", "node-gone", "node-silent", "request-lost",
    "expired", "taken-back", "refused", "too-large-request", "wrong-identity", "unreadable", "too-large-answer", "bad-key",
    "bad-answer", "node-error", "window-exceeded", "insecure", "unexpected"] as const;
  for (const kind of kinds) {
    const { what, todo } = explain(new Problem(kind, "x", 90));
    assert.match(what, /^[A-Z].*[.)]$/, kind);
    assert.ok(todo.length > 5, kind);
    assert.doesNotMatch(what + todo, /!|HTTP \d|undefined|null|\[object/, kind);
  }
});

test("refusals become problems", () => {
  const kind = (status: number, code: string, reason = ""): string => problemOf(new Refusal(status, code, reason, null)).kind;
  assert.equal(kind(410, "cancelled", "server_unregistered"), "node-gone");
  assert.equal(kind(410, "expired", "provider_timeout"), "expired");
  assert.equal(kind(410, "cancelled", "requester_cancelled"), "taken-back");
  assert.equal(kind(413, "413"), "too-large-request");
  assert.equal(kind(502, "502"), "relay-error");
  assert.equal(kind(400, "400"), "refused");
  assert.equal(problemOf(new NoContact("x")).kind, "offline");
});

test("durations as people say them", () => {
  assert.deepEqual([0.2, 59, 60, 61, 3599, 3700].map(duration), ["1 s", "59 s", "1 min", "1 min 1 s", "59 min 59 s", "1 h 1 min"]);
});

test("quotas are read from the newer and the older headers", () => {
  const of = (given: Record<string, string>) => quotaOf(new Headers(given));
  assert.deepEqual(of({ RateLimit: '"hour";r=12;t=340', "RateLimit-Policy": '"hour";q=60;w=3600' }), { limit: 60, remaining: 12, resetSeconds: 340 });
  assert.deepEqual(of({ RateLimit: "limit=60, remaining=12, reset=340" }), { limit: null, remaining: 12, resetSeconds: 340 });
  assert.deepEqual(of({ "RateLimit-Limit": "60", "RateLimit-Remaining": "0", "RateLimit-Reset": "5" }), { limit: 60, remaining: 0, resetSeconds: 5 });
  assert.equal(of({}), null);
  assert.equal(of({ "RateLimit-Remaining": "soon" }), null);
});

test("the last fifth of a quota is shown", () => {
  assert.equal(quotaText(null), "");
  assert.equal(quotaText({ limit: 60, remaining: 13, resetSeconds: 60 }), "");
  assert.match(quotaText({ limit: 60, remaining: 12, resetSeconds: 600 }), /12 more questions .* next 10 min/);
  assert.match(quotaText({ limit: 60, remaining: 0, resetSeconds: null }), /no more questions/);
});

test("only addresses that cannot run anything become links", () => {
  assert.equal(safeAddress("https://example.com/a"), "https://example.com/a");
  for (const bad of ["javascript:alert(1)", " javascript:alert(1)", "JaVaScRiPt:x", "data:text/html,x", "vbscript:x", "/relative", "blob:x", "file:///etc/passwd"]) {
    assert.equal(safeAddress(bad), null, bad);
  }
});

test("fingerprints are compared whole or by their start, and never by less than 12 digits", () => {
  const print = "0123456789abcdef".repeat(4);
  assert.match(compare(print, print), /^Same: all 64/);
  assert.match(compare(print, "01:23:45:67:89:AB:CD"), /^Same in the 14/);
  assert.match(compare(print, "0123"), /at least 12/);
  assert.match(compare(print, "0123456789abcdee"), /^Different/);
  assert.match(compare(print, `${print}00`), /^Different/);
  assert.equal(compare(print, "  "), "");
});

test("an answer of more bytes than any relay sends is cut off while it is read", async () => {
  let sent = 0;
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      sent += 1;
      controller.enqueue(new Uint8Array(1024 * 1024));
    },
  });
  const api = new RelayApi(async () => new Response(endless));
  await assert.rejects(api.get("/anything"), TooLarge);
  assert.ok(sent < 16);
});

test("what is no JSON is no relay", async () => {
  const api = new RelayApi(async () => new Response("<html>Sign in to this network</html>"));
  await assert.rejects(api.get("/anything"), NoContact);
});

test("a conversation is saved with its questions, answers and node", () => {
  const when = new Date("2026-11-24T20:15:00Z");
  const node = { key: "k", fingerprint: "ab".repeat(32), tier: "8k-fast", ahead: 0 };
  const turn = { id: 1, question: "Q", state: "answered", since: 0, phase: null, notices: [], node, problem: null, retryAt: 0,
    confirmed: false, answer: { kind: "answer", text: "A", finish: "", tokens: 1, node, milliseconds: 1 } } as const;
  const text = transcript([turn], "https://relay.example.com", when);
  assert.match(text, /relay https:\/\/relay\.example\.com, saved 2026-11-24 20:15 UTC/);
  assert.match(text, /## Question\n\nQ\n\n## Answer \(compute node abababababab\)\n\nA\n/);
  assert.equal(fileName(when), "conversation-2026-11-24-20-15.md");
});
