import assert from "node:assert/strict";
import { test } from "node:test";

import { RelayStatus } from "../src/chat/status";
import { FakeRelay, json, refusal } from "./fakes";
import type { Handler } from "./fakes";

const NODE = { capabilities: { supported_model_ids: ["qwen3-8b-instruct", "other"], active_context_tier: "8k-fast" } };
const LARGE = { capabilities: { supported_model_ids: ["qwen3-8b-instruct"], active_context_tier: "64k-full" } };
const PROBE = { capabilities: { supported_model_ids: ["tokenplace-probe-1f"], active_context_tier: "8k-fast" } };
const DIAGNOSTICS = { total_api_v1_registered_compute_nodes: 3, api_v1_registered_compute_nodes: [NODE, LARGE, PROBE] };

function look(routes: Record<string, Handler>, visible = true) {
  const relay = new FakeRelay(routes);
  const time = { now: 0 };
  const status = new RelayStatus(relay.api, () => time.now, () => visible);
  return { relay, time, status };
}

test("nodes, models and release are read", async () => {
  const { status } = look({
    diagnostics: () => json(DIAGNOSTICS),
    models: () => json({ data: [{ id: "qwen3-8b-instruct" }] }),
    meta: () => json({ environment: "prod", version: "1.2.3", label: "prod 1.2.3" }),
  });
  await status.look();
  assert.deepEqual([status.reach, status.nodes, status.release], ["ok", 3, "prod 1.2.3"]);
  assert.deepEqual(status.models, ["qwen3-8b-instruct", "other"]);
  assert.equal(status.serving("qwen3-8b-instruct", "8k-fast"), 2);
  assert.equal(status.serving("qwen3-8b-instruct", "64k-full"), 1);
  assert.equal(status.serving("missing", "8k-fast"), 0);
});

test("it is asked at most every ten seconds, and never by a hidden tab", async () => {
  const seen = look({ diagnostics: () => json(DIAGNOSTICS), models: () => json({}), meta: () => json({}) });
  for (const now of [0, 1000, 9_999, 10_000, 15_000, 20_000]) {
    seen.time.now = now;
    await seen.status.look();
  }
  assert.equal(seen.relay.count("diagnostics"), 3);
  assert.equal(seen.relay.count("models"), 1);
  const hidden = look({ diagnostics: () => json(DIAGNOSTICS) }, false);
  await hidden.status.look();
  assert.equal(hidden.relay.calls.length, 0);
});

test("a relay without these routes is read by its health", async () => {
  const absent: Handler = () => refusal(404, 404);
  const { status } = look({ diagnostics: absent, healthz: () => json({ status: "ok", knownServers: 1 }), models: absent, meta: absent });
  await status.look();
  assert.deepEqual([status.reach, status.nodes, status.models], ["ok", 1, ["qwen3-8b-instruct"]]);
  assert.equal(status.serving("anything", "8k-fast"), 1);
});

test("a node is silent after twice its lease", async () => {
  const print = "ab".repeat(6);
  const entry = { ...NODE, server_public_key: `sha256:${print}`, age_seconds: 61, next_ping_in_x_seconds: 30 };
  const { status } = look({ diagnostics: () => json({ ...DIAGNOSTICS, api_v1_registered_compute_nodes: [entry] }), models: () => json({}), meta: () => json({}) });
  await status.look();
  assert.equal(status.isSilent(print + "00"), true);
  assert.equal(status.isSilent("cd".repeat(32)), false);
});

test("draining and silence are distinguished", async () => {
  const draining = look({ diagnostics: () => refusal(404, 404), healthz: () => json({ status: "draining" }, 503), models: () => json({}), meta: () => json({}) });
  await draining.status.look();
  assert.equal(draining.status.reach, "draining");
  const silent = look({});
  await silent.status.look();
  assert.equal(silent.status.reach, "offline");
});
