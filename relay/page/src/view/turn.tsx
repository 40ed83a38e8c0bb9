import type { Turn } from "../chat/chat";
import { duration, explain } from "../chat/problem";
import { CopyButton } from "./code";
import { useNow } from "./hooks";
import { Icon } from "./icons";
import { Markdown } from "./markdown";
import { ProgressCard } from "./progress";

interface Actions {
  retry(): void;
  edit(): void;
  showNode(turn: Turn): void;
}

export function TurnView({ turn, last, actions }: { turn: Turn; last: boolean; actions: Actions }) {
  return (
    <li class="turn" data-state={turn.state}>
      <div class="question">
        <h2 class="hidden">You asked</h2>
        <p>{turn.question}</p>
      </div>
      {turn.notices.map((text) => <p class="notice">{text}</p>)}
      {turn.state === "running" && <ProgressCard turn={turn} />}
      {turn.answer && <AnswerView turn={turn} last={last} actions={actions} />}
      {turn.state === "failed" && <Failure turn={turn} last={last} actions={actions} />}
      {turn.state === "stopped" && <Stopped turn={turn} last={last} actions={actions} />}
    </li>
  );
}

function AnswerView({ turn, last, actions }: { turn: Turn; last: boolean; actions: Actions }) {
  const answer = turn.answer!;
  const facts = [duration(answer.milliseconds / 1000), answer.tokens === null ? "" : `${answer.tokens} tokens`];
  return (
    <div class="answer">
      <h3 class="hidden">Answer</h3>
      <Markdown text={answer.text} />
      {answer.finish === "length" && <p class="note">The answer reached its greatest length and ends here.</p>}
      <div class="under">
        <button type="button" class="quiet node" onClick={() => actions.showNode(turn)}>
          <Icon name="lock" />
          <span>Node <code>{answer.node.fingerprint.slice(0, 12)}</code></span>
        </button>
        <span class="facts">{facts.filter(Boolean).join(" · ")}</span>
        <span class="grow" />
        <CopyButton text={answer.text} label="Copy answer" />
        {last && <Again actions={actions} />}
      </div>
    </div>
  );
}

function Failure({ turn, last, actions }: { turn: Turn; last: boolean; actions: Actions }) {
  const { what, todo } = explain(turn.problem!);
  const now = useNow(turn.retryAt > Date.now());
  const left = (turn.retryAt - now) / 1000;
  return (
    <div class="failure">
      <p><Icon name="alert" /><strong>{what}</strong></p>
      <p>{left > 0 ? `You can ask again in ${duration(left)}.` : todo}</p>
      {last && (
        <div class="under">
          <Again actions={actions} wait={left > 0} />
          <Edit actions={actions} />
        </div>
      )}
    </div>
  );
}

function Stopped({ turn, last, actions }: { turn: Turn; last: boolean; actions: Actions }) {
  return (
    <div class="stopped">
      <p>
        {turn.confirmed
          ? "Stopped. The relay confirmed it: the request is gone."
          : "Stopped here, but the relay did not confirm it: a compute node may still work on it."}
      </p>
      {last && (
        <div class="under">
          <Again actions={actions} />
          <Edit actions={actions} />
        </div>
      )}
    </div>
  );
}

function Again({ actions, wait = false }: { actions: Actions; wait?: boolean }) {
  return (
    <button type="button" class="quiet" onClick={actions.retry} disabled={wait}>
      <Icon name="again" /><span>Ask again</span>
    </button>
  );
}

function Edit({ actions }: { actions: Actions }) {
  return (
    <button type="button" class="quiet" onClick={actions.edit}>
      <Icon name="edit" /><span>Edit question</span>
    </button>
  );
}
