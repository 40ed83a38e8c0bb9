/** One question and its answer: from choosing a compute node to the opened answer. */

import { randomId } from "../wire/encoding";
import { header, open, seal } from "../wire/envelope";
import type { Json } from "../wire/envelope";
import { fingerprint } from "../wire/keys";
import type { ClientKeys } from "../wire/keys";
import { NoContact, Refusal } from "../wire/relay";
import type { RelayApi } from "../wire/relay";
import { answerOf } from "./answer";
import type { Answer, NodeRef } from "./answer";
import type { Clock } from "./clock";
import { MAX_OUTPUT, sendable, sizeOf, TIERS, tierFor } from "./limits";
import type { Message, TierChoice, TierId } from "./limits";
import { gone, leaves, pauseFor } from "./patience";
import { Problem, problemOf } from "./problem";
import { progressOf } from "./progress";
import type { Progress } from "./progress";

export type Phase =
  | { name: "selecting" | "sealing" | "sending" | "opening" | "stopping" }
  | { name: "waiting"; ahead: number }
  | { name: "working"; progress: Progress }
  | { name: "held-up"; problem: Problem; until: number };

export interface Asked {
  model: string;
  tier: TierChoice;
  messages: Message[];
  /** The node of the conversation: text is shown to as few nodes as possible. */
  prefer: NodeRef | null;
  /** Keys of nodes that failed just now. */
  avoid: string[];
}

export interface Listener {
  phase(phase: Phase): void;
  node(node: NodeRef): void;
  notice(text: string): void;
}

export type Outcome = Answer | { kind: "stopped"; confirmed: boolean };

export const PATIENCE_MS = 120_000;
export const HOLD_SECONDS = 20;
const FAILOVERS = 3;
const SAME_NODE_TRIES = 4;
const DEFAULT_TTL_SECONDS = 480;
/** How long after the deadline a relay still hands the answer out. */
const REPLAY_MS = 300_000;
const MIN_PAUSE_MS = 250;
const CANCEL_TRIES = 3;
const CANCEL_PAUSE_MS = 1000;

class Stop extends Error {}

export class Exchange {
  private readonly interrupt = new AbortController();
  /** Of the request that waits for its answer; a new one for each node. */
  private round = new AbortController();
  private silent = false;
  private stopping = false;
  private ended = false;
  private sent: Json | null = null;
  private ttl = DEFAULT_TTL_SECONDS;
  private lastPhase: Phase = { name: "selecting" };
  private workPhase: Phase = { name: "waiting", ahead: 0 };
  private lastSequence = 0;

  constructor(
    private readonly api: RelayApi,
    private readonly clock: Clock,
    private readonly keys: () => Promise<ClientKeys>,
    private readonly listener: Listener,
  ) {}

  /** The answer, or that it was stopped; throws Problem. */
  async run(asked: Asked): Promise<Outcome> {
    const started = this.clock.now();
    try {
      return await this.ask(asked, started);
    } catch (error) {
      if (this.stopping || error instanceof Stop) return await this.takeBack(started);
      throw problemOf(error);
    } finally {
      this.ended = true;
    }
  }

  stop(): void {
    if (this.stopping) return;
    this.stopping = true;
    this.interrupt.abort();
    this.round.abort();
  }

  /** The node has not called the relay for long: cancel the request and ask another node. */
  leaveSilentNode(): void {
    if (this.silent || this.lastPhase.name !== this.workPhase.name) return;
    this.silent = true;
    this.round.abort();
  }

  /** The page goes away: take the request back without waiting for the relay's word. */
  abandon(): void {
    if (this.sent) this.api.cancel(this.cancelBody("requester_gave_up"), true).catch(() => undefined);
  }

  private async ask(asked: Asked, started: number): Promise<Outcome> {
    const messages = sendable(asked.messages);
    const avoid = new Set(asked.avoid);
    let tier = tierFor(asked.tier, sizeOf(messages));
    let prefer = asked.prefer && !avoid.has(asked.prefer.key) ? asked.prefer : null;
    for (let failovers = 0; ; ) {
      const node = prefer ?? (await this.choose(asked.model, tier, avoid, failovers === 0));
      prefer = null;
      try {
        await this.send(node, asked.model, tier, messages);
        return await this.collect(node, started);
      } catch (error) {
        const problem = problemOf(error);
        if (this.stopping) throw new Stop();
        if (problem.kind === "window-exceeded" && asked.tier === "auto" && tier === TIERS[0].id) {
          tier = TIERS[1].id;
          this.listener.notice("Too long for the fast context. Asked again with the full one.");
          continue;
        }
        if (!leaves(problem) || failovers >= FAILOVERS) throw problem;
        failovers += 1;
        if (problem.kind !== "request-lost") avoid.add(node.key);
        this.listener.notice(`${gone(problem)} Sent again to another node.`);
      } finally {
        this.sent = this.stopping ? this.sent : null;
      }
    }
  }

  /** Ask the relay for a node; `lenient` takes one that failed before, when there is no other. */
  private async choose(
    model: string, tier: TierId, avoid: Set<string>, lenient: boolean,
  ): Promise<NodeRef> {
    for (let tries = 1; ; tries += 1) {
      this.say({ name: "selecting" });
      const choice = await this.patiently((signal) => this.api.select(model, tier, signal));
      const order: string[] = TIERS.map((one) => one.id);
      if (order.indexOf(choice.tier) < order.indexOf(tier)) throw new Problem("no-match", choice.tier);
      if (!choice.key) throw new Problem("bad-key");
      if (!avoid.has(choice.key) || (lenient && tries >= SAME_NODE_TRIES)) {
        return { ...choice, fingerprint: await fingerprint(choice.key) };
      }
      if (tries >= SAME_NODE_TRIES * 2) throw new Problem("node-gone");
      await this.sleep(tries < SAME_NODE_TRIES ? MIN_PAUSE_MS : 2000);
    }
  }

  private async send(
    node: NodeRef, model: string, tier: TierId, messages: Message[],
  ): Promise<void> {
    this.say({ name: "sealing" });
    this.listener.node(node);
    const client = (await this.keys()).wire;
    const id = randomId();
    const request = { model, messages, options: { max_tokens: MAX_OUTPUT }, routing: { context_tier: tier } };
    const sealed = await seal({ ...header(id, client), api_v1_request: request }, node.key);
    if (this.stopping) throw new Stop();
    this.sent = { ...header(id, client), server_public_key: node.key, cancel_token: randomId() };
    this.lastSequence = 0;
    this.round = new AbortController();
    this.silent = false;
    this.say({ name: "sending" });
    const envelope = { ...this.sent, ...sealed };
    // The same id may be submitted again: a relay queues it once.
    this.ttl = (await this.patiently((signal) => this.handIn(envelope, signal))) ?? DEFAULT_TTL_SECONDS;
  }

  private async handIn(envelope: Json, signal: AbortSignal): Promise<number | null> {
    try {
      return await this.api.submit(envelope, signal);
    } catch (error) {
      const away = error instanceof Refusal && (error.status === 404 || error.status === 410);
      throw away ? new Problem("node-gone") : error;
    }
  }

  private async collect(node: NodeRef, started: number): Promise<Answer> {
    const keys = await this.keys();
    const id = String(this.sent!["request_id"]);
    let deadline = this.clock.now() + this.ttl * 1000;
    this.say({ name: "waiting", ahead: node.ahead });
    for (let quick = 0, failures = 0; ; ) {
      const asked = this.clock.now();
      try {
        if (this.silent) await this.takeFromSilentNode();
        const found = await this.api.retrieve(keys.wire, id, HOLD_SECONDS, this.round.signal);
        if (found.kind === "answer") {
          this.say({ name: "opening" });
          return answerOf(await open(found.envelope, keys, id), node, this.clock.now() - started);
        }
        failures = 0;
        if (this.lastPhase.name === "held-up") this.say(this.workPhase);
        if (found.progress) void this.note(found.progress, keys, id);
        if (found.seconds !== null) deadline = Math.min(deadline, asked + found.seconds * 1000);
        const wasHeld = found.held || this.clock.now() - asked > 900;
        await this.sleep(wasHeld ? MIN_PAUSE_MS : Math.min(2000, 500 * 1.25 ** quick++));
      } catch (error) {
        await this.bear(error, failures++, deadline);
      }
    }
  }

  /** Wait out what passes by itself; the relay keeps the request meanwhile. */
  private async bear(error: unknown, failures: number, deadline: number): Promise<void> {
    if (this.stopping || error instanceof Stop) throw new Stop();
    if (this.silent && error instanceof NoContact) return;
    if (error instanceof Refusal && error.status === 404) throw new Problem("request-lost");
    const problem = problemOf(error);
    const pause = pauseFor(problem, failures);
    if (pause === null) throw problem;
    if (this.clock.now() > deadline + REPLAY_MS) throw new Problem("expired");
    await this.holdUp(problem, pause);
  }

  /** Not awaited by the loop: how long opening takes must not show in how the page polls. */
  private async note(envelope: Json, keys: ClientKeys, id: string): Promise<void> {
    const progress = await open(envelope, keys, id).then(progressOf, () => null);
    if (!progress || progress.sequence <= this.lastSequence) return;
    if (this.ended || this.stopping || this.sent?.["request_id"] !== id) return;
    this.lastSequence = progress.sequence;
    this.say({ name: "working", progress });
  }

  private async patiently<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const ends = this.clock.now() + PATIENCE_MS;
    const before = this.lastPhase;
    for (let failures = 0; ; failures += 1) {
      try {
        const result = await call(this.interrupt.signal);
        if (this.lastPhase.name === "held-up") this.say(before);
        if (this.stopping) throw new Stop();
        return result;
      } catch (error) {
        if (this.stopping || error instanceof Stop) throw new Stop();
        const problem = problemOf(error);
        const pause = pauseFor(problem, failures);
        if (pause === null || this.clock.now() + pause > ends) throw problem;
        await this.holdUp(problem, pause);
      }
    }
  }

  private async holdUp(problem: Problem, pause: number): Promise<void> {
    this.say({ name: "held-up", problem, until: this.clock.now() + pause });
    await this.sleep(pause);
  }

  /** Throws node-silent, unless the answer has come after all. */
  private async takeFromSilentNode(): Promise<void> {
    const taken = await this.api.cancel(this.cancelBody("requester_gave_up")).catch(() => null);
    if (taken) throw new Problem("node-silent");
    this.silent = false;
    this.round = new AbortController();
  }

  private async takeBack(started: number): Promise<Outcome> {
    if (!this.sent) return { kind: "stopped", confirmed: true };
    this.say({ name: "stopping" });
    for (let tries = 0; tries < CANCEL_TRIES; tries += 1) {
      try {
        const confirmed = await this.api.cancel(this.cancelBody("requester_cancelled"));
        return { kind: "stopped", confirmed };
      } catch (error) {
        if (error instanceof Refusal && error.status === 403) return await this.lookOnce(started);
        if (!(error instanceof NoContact || error instanceof Refusal)) throw problemOf(error);
        await this.clock.sleep(CANCEL_PAUSE_MS, new AbortController().signal);
      }
    }
    return { kind: "stopped", confirmed: false };
  }

  /** The relay would not cancel: the answer may have come first, or the request never came. */
  private async lookOnce(started: number): Promise<Outcome> {
    const keys = await this.keys();
    const id = String(this.sent!["request_id"]);
    const node = { key: String(this.sent!["server_public_key"]), tier: "", ahead: 0 };
    try {
      const found = await this.api.retrieve(keys.wire, id, 0);
      if (found.kind !== "answer") return { kind: "stopped", confirmed: false };
      const where = { ...node, fingerprint: await fingerprint(node.key) };
      return answerOf(await open(found.envelope, keys, id), where, this.clock.now() - started);
    } catch (error) {
      const over = error instanceof Refusal && (error.status === 404 || error.status === 410);
      return { kind: "stopped", confirmed: over };
    }
  }

  private cancelBody(reason: string): Json {
    const { client_public_key, request_id, cancel_token } = this.sent!;
    return { client_public_key, request_id, cancel_token, status: "cancelled", reason };
  }

  private async sleep(milliseconds: number): Promise<void> {
    await this.clock.sleep(milliseconds, this.round.signal);
    if (this.stopping) throw new Stop();
  }

  private say(phase: Phase): void {
    this.lastPhase = phase;
    if (phase.name === "waiting" || phase.name === "working") this.workPhase = phase;
    this.listener.phase(phase);
  }
}
