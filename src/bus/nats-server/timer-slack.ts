/**
 * Lets the timers of a child be late: by what Linux calls its slack, which a child has from the thread that starts it.
 *
 * While anything is to be done, a thread of Go's runtime looks every 20 µs whether another one is stuck. On a virtual machine these sleeps were a
 * fifth of what a broker with single tasks used of the processor, and half of its switches from thread to thread. Nothing in nats-server is due
 * more exactly than this slack.
 */
import { readFileSync, writeFileSync } from "node:fs";

const OWN_SLACK = "/proc/self/timerslack_ns";

/** Calls `start`, with that slack for what it starts where the system knows such a thing. Only on the main thread. */
export function withTimerSlack<T>(slackNs: number | undefined, start: () => T): T {
  if (slackNs === undefined) return start();
  const before = setSlack(String(slackNs));
  try {
    return start();
  } finally {
    if (before !== undefined) setSlack(before);
  }
}

/** What it was before; undefined where it cannot be set. */
function setSlack(slackNs: string): string | undefined {
  try {
    const before = readFileSync(OWN_SLACK, "utf8").trim();
    writeFileSync(OWN_SLACK, slackNs);
    return before;
  } catch {
    return undefined;
  }
}
