/** Which problems pass by themselves, and which another compute node cures. */

import type { Problem } from "./problem";

/** Milliseconds to wait before trying again; null when a retry cannot succeed. */
export function pauseFor(problem: Problem, failures: number): number | null {
  const backoff = Math.min(5000, 1000 * 2 ** failures);
  const asked = problem.retryAfter === null ? null : Math.max(500, problem.retryAfter * 1000);
  switch (problem.kind) {
    case "offline":
      return backoff;
    case "no-nodes":
      return asked ?? 5000;
    case "busy":
    case "draining":
    case "relay-error":
      return asked ?? backoff;
    case "limited":
      return asked ?? 60_000;
    default:
      return null;
  }
}

/** Problems of one node, or of a restarted relay, that another try can cure. */
export function leaves(problem: Problem): boolean {
  return ["node-gone", "node-silent", "request-lost", "bad-key"].includes(problem.kind);
}

/** The plain sentence about a failover. */
export function gone(problem: Problem): string {
  if (problem.kind === "request-lost") return "The relay was restarted and lost the request.";
  if (problem.kind === "node-silent") return "The compute node stopped responding.";
  if (problem.kind === "bad-key") return "The compute node's key could not be used.";
  return "The compute node went away.";
}
