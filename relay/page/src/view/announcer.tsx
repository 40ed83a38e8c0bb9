import type { Turn } from "../chat/chat";
import { explain } from "../chat/problem";
import { announcement } from "./progress";

/** Announces phases, failovers, answers and errors to a screen reader, each once. */
export function Announcer({ turn }: { turn: Turn | undefined }) {
  return (
    <div class="hidden">
      <p role="status" aria-live="polite" aria-atomic="true">{turn ? polite(turn) : ""}</p>
      <p role="alert" aria-atomic="true">{turn?.state === "failed" ? Object.values(explain(turn.problem!)).join(" ") : ""}</p>
    </div>
  );
}

function polite(turn: Turn): string {
  if (turn.state === "answered") return `Answer: ${turn.answer!.text.slice(0, 1000)}`;
  if (turn.state === "stopped") return turn.confirmed ? "Stopped, and confirmed by the relay." : "Stopped, not confirmed by the relay.";
  if (turn.state === "failed") return "";
  const notice = turn.notices.at(-1);
  const now = announcement(turn.phase);
  return notice && turn.phase?.name !== "working" ? `${notice} ${now}` : now;
}
