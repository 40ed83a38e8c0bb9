/** The conversation on the page: its turns, and the one exchange that may be running. */

import { createKeys } from "../wire/keys";
import type { ClientKeys } from "../wire/keys";
import type { RelayApi } from "../wire/relay";
import type { Answer, NodeRef } from "./answer";
import type { Clock } from "./clock";
import { Exchange } from "./exchange";
import type { Phase } from "./exchange";
import type { Message, TierChoice } from "./limits";
import { Problem, problemOf } from "./problem";
import { Store } from "./store";

export interface Turn {
  readonly id: number;
  readonly question: string;
  readonly state: "running" | "answered" | "failed" | "stopped";
  readonly since: number;
  readonly phase: Phase | null;
  readonly notices: readonly string[];
  readonly node: NodeRef | null;
  readonly answer: Answer | null;
  readonly problem: Problem | null;
  /** When asking again makes sense, on the clock. */
  readonly retryAt: number;
  /** Of a stopped turn: the relay confirmed that the request is gone. */
  readonly confirmed: boolean;
}

export class Chat extends Store {
  turns: readonly Turn[] = [];
  node: NodeRef | null = null;
  private keys: Promise<ClientKeys> | null = null;
  private exchange: Exchange | null = null;
  private count = 0;

  constructor(
    private readonly api: RelayApi,
    private readonly clock: Clock,
  ) {
    super();
  }

  get running(): boolean {
    return this.turns.at(-1)?.state === "running";
  }

  /** What would be sent together with a question. */
  history(before = Infinity): Message[] {
    return this.turns
      .filter((turn) => turn.answer && turn.id < before)
      .flatMap((turn) => [
        { role: "user", content: turn.question },
        { role: "assistant", content: turn.answer!.text },
      ]);
  }

  /** Make the keys while the person still types. */
  prepare(): void {
    this.ourKeys().catch(() => undefined);
  }

  async ask(question: string, model: string, tier: TierChoice, avoid: string[] = []): Promise<void> {
    if (this.running) return;
    const turn = this.begin(question);
    const messages: Message[] = [...this.history(turn.id), { role: "user", content: question }];
    const exchange = new Exchange(this.api, this.clock, () => this.ourKeys(), {
      phase: (phase) => this.change(turn.id, () => ({ phase })),
      node: (node) => this.meet(turn.id, node),
      notice: (text) => this.change(turn.id, (old) => ({ notices: [...old.notices, text] })),
    });
    this.exchange = exchange;
    try {
      const outcome = await exchange.run({ model, tier, messages, prefer: this.node, avoid });
      if (outcome.kind === "stopped") {
        this.change(turn.id, () => ({ state: "stopped", confirmed: outcome.confirmed }));
      } else {
        this.change(turn.id, () => ({ state: "answered", answer: outcome }));
      }
    } catch (error) {
      this.fail(turn.id, problemOf(error));
    } finally {
      if (this.exchange === exchange) this.exchange = null;
    }
  }

  stop(): void {
    this.exchange?.stop();
  }

  /** Leave the running node if the relay reports that it is silent. */
  hear(isSilent: (fingerprint: string) => boolean): void {
    const node = this.running ? this.turns.at(-1)?.node : null;
    if (node && isSilent(node.fingerprint)) this.exchange?.leaveSilentNode();
  }

  /** The page is closed. */
  abandon(): void {
    this.exchange?.abandon();
  }

  /** Ask the last question again; a node that failed is avoided while there is another. */
  async retry(model: string, tier: TierChoice): Promise<void> {
    const last = this.turns.at(-1);
    if (!last || this.running) return;
    this.turns = this.turns.slice(0, -1);
    await this.ask(last.question, model, tier, last.problem && last.node ? [last.node.key] : []);
  }

  /** Take the last question back into the box; returns it. */
  takeBack(): string {
    const last = this.turns.at(-1);
    if (!last || this.running) return "";
    this.turns = this.turns.slice(0, -1);
    this.emit();
    return last.question;
  }

  /** A new conversation has new keys, and forgets its node. */
  startOver(): void {
    if (this.running) return;
    this.turns = [];
    this.keys = this.node = null;
    this.emit();
  }

  private ourKeys(): Promise<ClientKeys> {
    this.keys ??= createKeys();
    return this.keys;
  }

  private begin(question: string): Turn {
    this.count += 1;
    const turn: Turn = {
      id: this.count, question, state: "running", since: this.clock.now(),
      phase: null, notices: [], node: null, answer: null, problem: null, retryAt: 0, confirmed: false,
    };
    this.turns = [...this.turns, turn];
    this.emit();
    return turn;
  }

  private meet(id: number, node: NodeRef): void {
    this.node = node;
    this.change(id, () => ({ node }));
  }

  private fail(id: number, problem: Problem): void {
    this.node = null;
    // Other problems may pass sooner, or be cured by another choice.
    const wait = problem.kind === "limited" ? (problem.retryAfter ?? 0) : 0;
    const retryAt = this.clock.now() + wait * 1000;
    this.change(id, () => ({ state: "failed", problem, retryAt }));
  }

  private change(id: number, update: (old: Turn) => Partial<Turn>): void {
    this.turns = this.turns.map((turn) => (turn.id === id ? { ...turn, ...update(turn) } : turn));
    this.emit();
  }
}
