/** Shows the progress of the running question; the announcer reads it to a screen reader. */

import type { Phase } from "../chat/exchange";
import { duration, explain } from "../chat/problem";
import type { Turn } from "../chat/chat";
import { useNow } from "./hooks";

const STEPS = ["Choose", "Seal", "Queue", "Read", "Write", "Open"];

export function ProgressCard({ turn }: { turn: Turn }) {
  const now = useNow(true);
  const phase = turn.phase;
  const percent = percentOf(phase);
  const step = stepOf(phase);
  const done = percent === null ? {} : { value: percent };
  return (
    <div class={phase?.name === "held-up" ? "progress held" : "progress"}>
      <p class="phase">
        <strong>{sentence(phase, now)}</strong>
        <span class="elapsed">{duration((now - turn.since) / 1000)}</span>
      </p>
      {phase?.name === "held-up" ? (
        <p class="note">{explain(phase.problem).todo}</p>
      ) : (
        <>
          <progress max={100} {...done} aria-label="Progress of the answer" />
          <ol class="steps" aria-hidden="true">
            {STEPS.map((name, at) => (
              <li class={at < step ? "past" : at === step ? "now" : ""}>{name}</li>
            ))}
          </ol>
        </>
      )}
    </div>
  );
}

/** One sentence; it changes with the phase, and with numbers inside a phase. */
export function sentence(phase: Phase | null, now: number): string {
  switch (phase?.name) {
    case "sealing":
      return "Encrypting for the compute node";
    case "sending":
      return "Handing the sealed request to the relay";
    case "waiting":
      return phase.ahead > 0
        ? `In the queue: ${phase.ahead} ${phase.ahead === 1 ? "request was" : "requests were"} before yours`
        : "Sent. Waiting for the compute node";
    case "working":
      return working(phase);
    case "opening":
      return "Decrypting the answer";
    case "stopping":
      return "Stopping";
    case "held-up": {
      const { what } = explain(phase.problem);
      const left = Math.max(0, phase.until - now) / 1000;
      return `${what} Trying again ${left > 0.5 ? `in ${duration(left)}` : "now"}.`;
    }
    default:
      return "Choosing a compute node";
  }
}

function working({ progress }: Extract<Phase, { name: "working" }>): string {
  if (progress.phase === "generating") return `Writing the answer: ${progress.generated} tokens so far`;
  if (progress.phase === "prefill" && progress.total > 0) {
    return `Reading your text: ${Math.floor((100 * progress.processed) / progress.total)} %`;
  }
  return progress.phase === "prefill" ? "Reading your text" : "The compute node prepares the model";
}

/** The text for a screen reader: the phase without the numbers that change all the time. */
export function announcement(phase: Phase | null): string {
  if (phase?.name === "held-up") return Object.values(explain(phase.problem)).join(" ");
  if (phase?.name !== "working") return sentence(phase, 0);
  const words = { preparing: "The compute node prepares the model", prefill: "The compute node reads your text", generating: "The compute node writes the answer" };
  return words[phase.progress.phase];
}

function stepOf(phase: Phase | null): number {
  const names = { selecting: 0, sealing: 1, sending: 1, waiting: 2, working: 3, opening: 5, stopping: -1, "held-up": -1 };
  if (phase?.name === "working" && phase.progress.phase === "generating") return 4;
  return phase ? names[phase.name] : 0;
}

/** Only reading has an end that is known. */
function percentOf(phase: Phase | null): number | null {
  if (phase?.name !== "working" || phase.progress.phase !== "prefill" || !phase.progress.total) return null;
  return Math.floor((100 * phase.progress.processed) / phase.progress.total);
}
