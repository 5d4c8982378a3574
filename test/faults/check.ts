/** Judges what happened in a world of faults. */
import type { History, Index, Streams, Violation } from "./history.ts";

/** Not written yet: P1 for what was accepted, and nothing else. */
export function check(history: History, streams: Streams, _index: Index): Violation[] {
  const stored = new Set(streams.results.map(({ result }) => result.id));
  return history
    .flatMap((entry) => (entry.type === "accepted" ? entry.ids : []))
    .filter((id) => !stored.has(id))
    .map((id) => ({ promise: "P1", what: `${id} was accepted and has no result` }));
}
