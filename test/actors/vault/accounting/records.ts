import fc from "fast-check";
import type { TrailRecord } from "../../../../src/actors/vault/trail/entry.ts";
import type { Usage } from "../../../../src/protocols/vault/keys.ts";

let seq = 0;

/** A record of a use of `openai/main`, unless told otherwise. */
export function record(fields: Partial<TrailRecord> = {}): TrailRecord {
  return {
    seq: ++seq,
    at: Date.UTC(2026, 10, 22, 12),
    op: "call-end",
    outcome: "ok",
    provider: "openai",
    key: "main",
    ...fields,
  };
}

const names = fc.constantFrom("a", "b", "c");
const amount = fc.nat(10_000);
const usages: fc.Arbitrary<Partial<Usage>> = fc.record(
  {
    leases: fc.nat(1),
    calls: fc.nat(1),
    errors: fc.nat(1),
    bytesSent: amount,
    bytesReceived: amount,
    inputTokens: amount,
    outputTokens: amount,
    cachedTokens: amount,
    costNanoUsd: amount,
  },
  { requiredKeys: [] },
);

/** Records as a trail has them: uses, calls that begin and end, things without use or key, deletions, over three days. */
export const records: fc.Arbitrary<TrailRecord[]> = fc
  .array(
    fc.record({
      op: fc.constantFrom("lease", "call", "call-end", "list", "delete"),
      outcome: fc.constantFrom("ok", "refused", "failed"),
      at: fc.integer({ min: Date.UTC(2026, 10, 29, 20), max: Date.UTC(2026, 11, 2, 4) }),
      provider: fc.option(names, { nil: undefined }),
      key: fc.option(names, { nil: undefined }),
      host: names,
      task: fc.option(fc.record({ pool: names, kind: names, id: names, attempt: fc.constant(1), agent: names }), {
        nil: undefined,
      }),
      usage: fc.option(usages, { nil: undefined }),
      call: fc.nat(5),
    }),
    { maxLength: 60 },
  )
  .map(
    (all) =>
      all.map(({ op, outcome, at, provider, key, host, task, usage, call }, i) => ({
        ...{ seq: i + 1, at, op, outcome, who: { user: "u", role: "worker", host } },
        ...(provider !== undefined && { provider }),
        ...(key !== undefined && { key }),
        ...(task !== undefined && { task }),
        ...(usage !== undefined && { usage }),
        ...((op === "call" || op === "call-end") && { detail: { call: `c${call}` } }),
      })) as TrailRecord[],
  );

export async function* feed(all: readonly TrailRecord[]): AsyncGenerator<TrailRecord> {
  yield* all;
}
