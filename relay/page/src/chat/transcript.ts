/** The conversation as a Markdown file. */

import type { Turn } from "./chat";

export function transcript(turns: readonly Turn[], relay: string, when: Date): string {
  const head = [
    "# Conversation",
    "",
    `Through the relay ${relay}, saved ${when.toISOString().slice(0, 16).replace("T", " ")} UTC.`,
  ];
  return [...head, ...turns.flatMap(section), ""].join("\n");
}

export function fileName(when: Date): string {
  return `conversation-${when.toISOString().slice(0, 16).replace(/[:T]/g, "-")}.md`;
}

function section(turn: Turn): string[] {
  const answer = turn.answer?.text ?? (turn.state === "stopped" ? "*(stopped)*" : "*(no answer)*");
  const by = turn.node ? ` (compute node ${turn.node.fingerprint.slice(0, 12)})` : "";
  return ["", "## Question", "", turn.question, "", `## Answer${by}`, "", answer];
}
