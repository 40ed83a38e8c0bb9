import assert from "node:assert/strict";
import { before, test } from "node:test";

import type { NodeRef } from "../src/chat/answer";
import { Exchange, PATIENCE_MS } from "../src/chat/exchange";
import type { Asked, Outcome, Phase } from "../src/chat/exchange";
import { Problem } from "../src/chat/problem";
import type { Json } from "../src/wire/envelope";
import { createKeys } from "../src/wire/keys";
import type { ClientKeys } from "../src/wire/keys";
import { answering, FakeClock, FakeNode, FakeRelay, json, refusal } from "./fakes";
import type { Handler } from "./fakes";

let keys: ClientKeys;
let first: FakeNode;
let second: FakeNode;

before(async () => {
  [keys, first, second] = await Promise.all([createKeys(), FakeNode.create(), FakeNode.create()]);
});

const ASKED: Asked = {
  model: "m", tier: "auto", messages: [{ role: "user", content: "how are you?" }], prefer: null, avoid: [],
};
const HELLO = { api_v1_response: { message: { role: "assistant", content: "hello" } } };
const pending = (more: Json = {}): Response =>
  json({ status: "pending", request_deadline_remaining_seconds: 480, ...more }, 202);
const chosen = (node: FakeNode, more: Json = {}): Response =>
  json({ server_public_key: node.wire, selected_context_tier: "8k-fast", selected_queue_depth: 2, ...more });
const taken = (): Response => json({ message: "Request received", request_ttl_seconds: 480 });

interface Run {
  relay: FakeRelay;
  clock: FakeClock;
  phases: Phase[];
  notices: string[];
  nodes: NodeRef[];
  exchange: Exchange;
  outcome: Promise<Outcome>;
}

function start(routes: Record<string, Handler>, asked: Partial<Asked> = {}): Run {
  const relay = new FakeRelay(routes);
  const clock = new FakeClock();
  const [phases, notices, nodes]: [Phase[], string[], NodeRef[]] = [[], [], []];
  const exchange = new Exchange(relay.api, clock, async () => keys, {
    phase: (phase) => phases.push(phase),
    notice: (text) => notices.push(text),
    node: (node) => nodes.push(node),
  });
  const outcome = exchange.run({ ...ASKED, ...asked });
  return { relay, clock, phases, notices, nodes, exchange, outcome };
}

/** Answers each request from the last submitted work. */
function honest(node: () => FakeNode, response: Json = HELLO): Record<string, Handler> {
  let work: Json = {};
  return {
    "servers/next": () => chosen(node()),
    requests: (body) => { work = body; return taken(); },
    retrieve: async () => json(await answering(work, response)),
    cancel: (body) => json({ status: "cancelled", request_id: body["request_id"] }),
  };
}

async function problemOf(outcome: Promise<Outcome>): Promise<Problem> {
  const error: unknown = await outcome.then(() => null, (reason: unknown) => reason);
  assert.ok(error instanceof Problem, String(error));
  return error;
}

test("a question is encrypted, submitted and answered", async () => {
  const run = start(honest(() => first));
  const outcome = await run.outcome;
  assert.equal(outcome.kind === "answer" && outcome.text, "hello");
  const sent = run.relay.calls.find((one) => one.route === "requests")!.body;
  assert.deepEqual(Object.keys(sent).sort(), [
    "cancel_token", "cipherkey", "ciphertext", "client_public_key", "iv", "protocol", "request_id",
    "server_public_key", "version",
  ]);
  const inner = await first.open(sent);
  assert.equal(inner["request_id"], sent["request_id"]);
  assert.deepEqual(inner["api_v1_request"], {
    model: "m", messages: ASKED.messages, options: { max_tokens: 8192 }, routing: { context_tier: "8k-fast" },
  });
  assert.equal(run.phases.some((phase) => phase.name === "waiting" && phase.ahead === 2), true);
  assert.equal(run.nodes[0]!.fingerprint.length, 64);
});

test("encrypted progress is opened in order, and nonsense in it is passed over", async () => {
  const progress = (sequence: number, more: Json = {}): Json => ({
    api_v1_progress: {
      schema_version: 1, sequence, phase: "prefill", total_prompt_tokens: 10, cached_prompt_tokens: 0,
      processed_prompt_tokens: sequence, generated_tokens: 0, elapsed_ms: 5, ...more,
    },
  });
  let work: Json = {};
  const notes = [progress(2), progress(1), progress(3, { phase: "sleeping" }), progress(4, { extra: 1 }), progress(5)];
  const opened = (run: Run): number[] =>
    run.phases.flatMap((phase) => (phase.name === "working" ? [phase.progress.sequence] : []));
  const run: Run = start({
    ...honest(() => first),
    requests: (body) => { work = body; return taken(); },
    retrieve: async () => {
      const note = notes.shift();
      if (note) return pending({ encrypted_progress: await answering(work, note) });
      // Opening is not awaited by the loop: the answer waits for it here.
      return opened(run).includes(5) ? json(await answering(work, HELLO)) : pending();
    },
  });
  await run.outcome;
  assert.deepEqual(opened(run), [2, 5]);
});

test("polling slows down to two seconds, and not while the relay holds the call", async () => {
  let polls = 0;
  const routes = honest(() => first);
  const answer = routes["retrieve"]!;
  routes["retrieve"] = (body, url) => (polls++ < 20 ? pending() : answer(body, url));
  const run = start(routes);
  await run.outcome;
  assert.equal(run.clock.slept[0], 500);
  assert.equal(Math.max(...run.clock.slept), 2000);
  assert.equal(run.clock.slept.slice(-3).every((one) => one === 2000), true);
});

test("while the relay holds the call, the page asks again at once", async () => {
  let polls = 0;
  const routes = honest(() => first);
  const answer = routes["retrieve"]!;
  routes["retrieve"] = (request, url) => {
    if (polls++ >= 20) return answer(request, url);
    const body = { status: "pending", request_deadline_remaining_seconds: 480 };
    return json(body, 202, { "Preference-Applied": "wait=20" });
  };
  const run = start(routes);
  await run.outcome;
  assert.deepEqual([...new Set(run.clock.slept)], [250]);
});

test("a request to a node that stopped calling the relay is cancelled and sent to another node", async () => {
  let current = first;
  let work: Json = {};
  const run: Run = start({
    ...honest(() => first),
    "servers/next": () => chosen(current),
    requests: (body) => { work = body; return taken(); },
    retrieve: async () => {
      if (current === second) return json(await answering(work, HELLO));
      current = second;
      run.exchange.leaveSilentNode();
      return pending();
    },
  });
  assert.equal((await run.outcome).kind, "answer");
  assert.deepEqual(run.notices, ["The compute node stopped responding. Sent again to another node."]);
  assert.equal(run.relay.count("cancel"), 1);
});

test("a node that answers after all is not left", async () => {
  const routes = honest(() => first);
  const answer = routes["retrieve"]!;
  let polls = 0;
  const run: Run = start({ ...routes, cancel: () => refusal(403, 403), retrieve: (body, url) => {
    if (polls++ > 0) return answer(body, url);
    run.exchange.leaveSilentNode();
    return pending();
  } });
  assert.equal((await run.outcome).kind, "answer");
  assert.deepEqual(run.notices, []);
});

test("a node that is gone is replaced, with a plain sentence and never by itself", async () => {
  let current = first;
  let work: Json = {};
  const run = start({
    "servers/next": () => chosen(current),
    requests: (body) => { work = body; return taken(); },
    retrieve: async () => {
      if (work["server_public_key"] === second.wire) return json(await answering(work, HELLO));
      setTimeout(() => { current = second; }, 0);
      return refusal(410, "cancelled", { reason: "server_unregistered" });
    },
  });
  assert.equal((await run.outcome).kind, "answer");
  assert.deepEqual(run.notices, ["The compute node went away. Sent again to another node."]);
  const sent = run.relay.calls.filter((one) => one.route === "requests").map((one) => one.body);
  assert.deepEqual(sent.map((one) => one["server_public_key"]), [first.wire, second.wire]);
  assert.notEqual(sent[0]!["request_id"], sent[1]!["request_id"]);
});

test("a node that left before the request was taken is replaced too", async () => {
  const routes = honest(() => second);
  const take = routes["requests"]!;
  routes["requests"] = (body, url) => (body["server_public_key"] === first.wire ? refusal(404, 404) : take(body, url));
  const prefer = { key: first.wire, fingerprint: "f", tier: "8k-fast", ahead: 0 };
  const run = start(routes, { prefer });
  assert.equal((await run.outcome).kind, "answer");
  assert.equal(run.notices.length, 1);
});

test("without another node the loss is reported", async () => {
  const run = start({ ...honest(() => first), retrieve: () => refusal(410, "cancelled", { reason: "server_unregistered" }) });
  assert.equal((await problemOf(run.outcome)).kind, "node-gone");
});

test("the conversation's node is asked without another selection", async () => {
  const prefer = { key: first.wire, fingerprint: "f", tier: "8k-fast", ahead: 0 };
  const run = start(honest(() => second), { prefer });
  await run.outcome;
  assert.equal(run.relay.count("servers/next"), 0);
});

test("a relay that was restarted is asked again, with the same node", async () => {
  const routes = honest(() => first);
  const answer = routes["retrieve"]!;
  let lost = false;
  routes["retrieve"] = (body, url) => {
    if (lost) return answer(body, url);
    lost = true;
    return refusal(404, 404);
  };
  const run = start(routes);
  assert.equal((await run.outcome).kind, "answer");
  assert.match(run.notices[0]!, /restarted/);
});

test("a network that is away for a minute loses nothing", async () => {
  const routes = honest(() => first);
  const answer = routes["retrieve"]!;
  const run = start({ ...routes, retrieve: (body, url) => {
    if (run.clock.time < 1_060_000) throw new TypeError("Failed to fetch");
    return answer(body, url);
  } });
  assert.equal((await run.outcome).kind, "answer");
  assert.equal(run.relay.count("requests"), 1);
  assert.equal(run.phases.some((phase) => phase.name === "held-up" && phase.problem.kind === "offline"), true);
});

test("after a sleep past the deadline the relay is asked once more", async () => {
  const routes = honest(() => first);
  const answer = routes["retrieve"]!;
  const run = start({ ...routes, retrieve: (body, url) => {
    if (run.clock.time > 1_100_000) return answer(body, url);
    run.clock.time += 700_000;
    throw new TypeError("Failed to fetch");
  } });
  assert.equal((await run.outcome).kind, "answer");
});

test("a relay that stays away ends in plain words", async () => {
  const run = start({ ...honest(() => first), retrieve: () => { throw new TypeError("Failed to fetch"); } });
  assert.equal((await problemOf(run.outcome)).kind, "expired");
  const silent = start({});
  assert.equal((await problemOf(silent.outcome)).kind, "offline");
  assert.ok(silent.clock.time - 1_000_000 <= PATIENCE_MS);
});

for (const [status, code, kind] of [
  [503, "no_registered_compute_nodes", "no-nodes"],
  [503, "no_available_capacity", "busy"],
  [503, "draining", "draining"],
  [429, "rate_limit_exceeded", "limited"],
  [500, 500, "relay-error"],
] as const) {
  test(`${code} is waited out, as long as the relay asks`, async () => {
    const routes = honest(() => first);
    let refused = 0;
    const choose = routes["servers/next"]!;
    routes["servers/next"] = (body, url) => (refused++ < 2 ? refusal(status, code, {}, 7) : choose(body, url));
    const run = start(routes);
    assert.equal((await run.outcome).kind, "answer");
    const held = run.phases.filter((phase) => phase.name === "held-up");
    assert.deepEqual(held.map((phase) => phase.problem.kind), [kind, kind]);
    assert.deepEqual(run.clock.slept.slice(0, 2), [7000, 7000]);
  });
}

test("a long rate limit is reported with its time instead of waited out", async () => {
  const run = start({ ...honest(() => first), "servers/next": () => refusal(429, "rate_limit_exceeded", {}, 1800) });
  const problem = await problemOf(run.outcome);
  assert.deepEqual([problem.kind, problem.retryAfter], ["limited", 1800]);
});

for (const [code, kind] of [["no_matching_compute_node", "no-match"], ["invalid_context_tier", "no-match"]] as const) {
  test(`${code} is reported at once`, async () => {
    const run = start({ ...honest(() => first), "servers/next": () => refusal(503, code) });
    assert.equal((await problemOf(run.outcome)).kind, kind);
    assert.equal(run.relay.count("servers/next"), 1);
  });
}

test("a submitted request whose answer was lost is submitted again with the same id", async () => {
  const routes = honest(() => first);
  const take = routes["requests"]!;
  let broken = true;
  routes["requests"] = (body, url) => {
    if (!broken) return take(body, url);
    broken = false;
    throw new TypeError("Failed to fetch");
  };
  const run = start(routes);
  await run.outcome;
  const ids = run.relay.calls.filter((one) => one.route === "requests").map((one) => one.body["request_id"]);
  assert.equal(ids.length, 2);
  assert.equal(new Set(ids).size, 1);
});

test("too long for the fast context: asked once more with the full one, if the choice was the page's", async () => {
  const exceeded = { api_v1_response: { error: { code: "compute_node_context_window_exceeded", message: "" } } };
  let work: Json = {};
  const routes: Record<string, Handler> = {
    "servers/next": (_, url) => chosen(first, { selected_context_tier: url.searchParams.get("context_tier") }),
    requests: (body) => { work = body; return taken(); },
    retrieve: async () => {
      const inner = await first.open(work);
      const { routing } = inner["api_v1_request"] as { routing: { context_tier: string } };
      return json(await answering(work, routing.context_tier === "8k-fast" ? exceeded : HELLO));
    },
  };
  assert.equal((await start(routes).outcome).kind, "answer");
  assert.equal((await problemOf(start(routes, { tier: "8k-fast" }).outcome)).kind, "window-exceeded");
});

for (const code of ["compute_node_runtime_unavailable", "something_new"]) {
  test(`the node's own error ${code} is reported`, async () => {
    const run = start(honest(() => first, { api_v1_response: { error: { code, message: "secret" } } }));
    const problem = await problemOf(run.outcome);
    assert.deepEqual([problem.kind, problem.detail], ["node-error", code]);
  });
}

for (const field of ["request_id", "client_public_key", "protocol", "version"]) {
  test(`an answer that is about another ${field} inside is refused as that`, async () => {
    let work: Json = {};
    const run = start({ ...honest(() => first), requests: (body) => { work = body; return taken(); },
      retrieve: async () => json(await answering(work, HELLO, { [field]: "other" })) });
    const problem = await problemOf(run.outcome);
    assert.deepEqual([problem.kind, problem.detail], ["wrong-identity", `inner ${field}`]);
  });
  test(`an answer with another ${field} outside is refused as that`, async () => {
    let work: Json = {};
    const run = start({ ...honest(() => first), requests: (body) => { work = body; return taken(); },
      retrieve: async () => json({ ...(await answering(work, HELLO)), [field]: "other" }) });
    const problem = await problemOf(run.outcome);
    assert.deepEqual([problem.kind, problem.detail], ["wrong-identity", `outer ${field}`]);
  });
}

test("an answer sealed to another key, or changed, is unreadable", async () => {
  const stranger = await createKeys();
  let work: Json = {};
  const run = start({ ...honest(() => first), requests: (body) => { work = body; return taken(); },
    retrieve: async () => {
      const other = await answering({ ...work, client_public_key: stranger.wire }, HELLO);
      return json({ ...other, client_public_key: work["client_public_key"] });
    } });
  assert.equal((await problemOf(run.outcome)).kind, "unreadable");
});

for (const [name, response] of [["no text", { message: { content: "" } }], ["no message", {}], ["no object", 5]] as const) {
  test(`an answer with ${name} is reported`, async () => {
    assert.equal((await problemOf(start(honest(() => first, { api_v1_response: response })).outcome)).kind, "bad-answer");
  });
}

test("a node key that cannot be used costs nothing but a failover", async () => {
  const run = start({ ...honest(() => first), "servers/next": () => json({ server_public_key: "AAAA", selected_context_tier: "8k-fast" }) });
  assert.equal((await problemOf(run.outcome)).kind, "node-gone");
  assert.equal(run.relay.count("requests"), 0);
  assert.match(run.notices[0]!, /key could not be used/);
});

test("a smaller context than asked for is refused", async () => {
  const run = start(honest(() => first), { tier: "64k-full" });
  assert.equal((await problemOf(run.outcome)).kind, "no-match");
});

test("stop cancels the request, and reports whether the relay confirmed it", async () => {
  const routes = { ...honest(() => first), retrieve: () => { run.exchange.stop(); return pending(); } };
  const run = start(routes);
  assert.deepEqual(await run.outcome, { kind: "stopped", confirmed: true });
  const cancelled = run.relay.calls.find((one) => one.route === "cancel")!.body;
  const sent = run.relay.calls.find((one) => one.route === "requests")!.body;
  assert.equal(cancelled["cancel_token"], sent["cancel_token"]);
  assert.equal(cancelled["request_id"], sent["request_id"]);
});

test("stop before the request was submitted sends no cancellation", async () => {
  const run = start({ "servers/next": () => { run.exchange.stop(); return refusal(503, "draining", {}, 1); } });
  assert.deepEqual(await run.outcome, { kind: "stopped", confirmed: true });
  assert.equal(run.relay.count("cancel"), 0);
});

test("stop that comes after the answer shows the answer", async () => {
  const routes = honest(() => first);
  const answer = routes["retrieve"]!;
  let asked = false;
  const run = start({ ...routes, cancel: () => refusal(403, 403), retrieve: (body, url) => {
    if (asked) return answer(body, url);
    asked = true;
    run.exchange.stop();
    return pending();
  } });
  const outcome = await run.outcome;
  assert.equal(outcome.kind === "answer" && outcome.text, "hello");
});

test("stop that the relay does not confirm is reported as unconfirmed", async () => {
  const run = start({ ...honest(() => first), cancel: () => { throw new TypeError("Failed to fetch"); },
    retrieve: () => { run.exchange.stop(); return pending(); } });
  assert.deepEqual(await run.outcome, { kind: "stopped", confirmed: false });
  assert.equal(run.relay.count("cancel"), 3);
});
