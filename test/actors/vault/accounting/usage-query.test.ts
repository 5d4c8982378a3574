import { describe, expect, it } from "vitest";
import { OTHERS, queryUsage } from "../../../../src/actors/vault/accounting/usage-query.ts";
import { NO_USAGE } from "../../../../src/protocols/vault/keys.ts";
import { OPERATIONS } from "../../../../src/protocols/vault/operations.ts";
import { feed, record } from "./records.ts";

const task = (id: string) => ({ pool: "default", kind: "write", id, attempt: 1, agent: "writer-1" });
const who = (host: string) => ({ user: "worker-1", role: "worker", host });

const TRAIL = [
  record({ at: 1_000, op: "call", who: who("n1"), task: task("t1"), usage: { calls: 1 } }),
  record({ at: 2_000, who: who("n1"), task: task("t1"), usage: { inputTokens: 10, costNanoUsd: 50 } }),
  record({ at: 3_000, op: "lease", who: who("n2"), task: task("t2"), usage: { leases: 1 } }),
  record({
    at: 4_000,
    provider: "anthropic",
    key: "k2",
    who: who("n2"),
    task: task("t2"),
    usage: { calls: 1, costNanoUsd: 70 },
  }),
  record({ at: 5_000, op: "list", who: who("n1") }),
];

describe("queryUsage", () => {
  it("groups by what is asked, dearest first", async () => {
    expect(await queryUsage(feed(TRAIL), { by: ["provider", "key"] })).toEqual({
      rows: [
        { provider: "anthropic", key: "k2", lastUsedAt: 4_000, usage: { ...NO_USAGE, calls: 1, costNanoUsd: 70 } },
        {
          ...{ provider: "openai", key: "main", lastUsedAt: 3_000 },
          usage: { ...NO_USAGE, leases: 1, calls: 1, inputTokens: 10, costNanoUsd: 50 },
        },
      ],
      total: { ...NO_USAGE, leases: 1, calls: 2, inputTokens: 10, costNanoUsd: 120 },
    });
  });

  it("takes the node from who asked, and agent, kind and task from the task", async () => {
    const { rows } = await queryUsage(feed(TRAIL), { by: ["task", "node", "kind", "agent"] });
    expect(rows.map(({ usage: _, lastUsedAt: __, ...names }) => names)).toEqual([
      { node: "n2", agent: "writer-1", kind: "write", task: "t2" },
      { node: "n1", agent: "writer-1", kind: "write", task: "t1" },
    ]);
  });

  it("has one row without names when nothing is asked for, and none when nothing was used", async () => {
    const { rows, total } = await queryUsage(feed(TRAIL), { by: [] });
    expect(rows).toEqual([{ lastUsedAt: 4_000, usage: total }]);
    expect(await queryUsage(feed([]), { by: ["key"] })).toEqual({ rows: [], total: NO_USAGE });
  });

  it("takes only what the provider, the task and the time admit", async () => {
    expect((await queryUsage(feed(TRAIL), { by: [], provider: "openai" })).total.calls).toBe(1);
    expect((await queryUsage(feed(TRAIL), { by: [], task: "t2" })).total).toEqual({
      ...NO_USAGE,
      ...{ leases: 1, calls: 1, costNanoUsd: 70 },
    });
    expect((await queryUsage(feed(TRAIL), { by: [], since: 2_000 })).total.calls).toBe(1);
    expect((await queryUsage(feed(TRAIL), { by: [], since: 4_001 })).rows).toEqual([]);
  });

  it("leaves out a name that a record does not tell", async () => {
    const { rows } = await queryUsage(feed([record({ at: 7, usage: { calls: 1 } })]), { by: ["task", "provider"] });
    expect(rows).toEqual([{ provider: "openai", lastUsedAt: 7, usage: { ...NO_USAGE, calls: 1 } }]);
  });

  it("sums what exceeds its rows in one last row", async () => {
    const all = Array.from({ length: 30_000 }, (_, i) =>
      record({ at: i, task: task(`t${i}`), usage: { costNanoUsd: i } }),
    );
    const { rows, total } = await queryUsage(feed(all), { by: ["task"] });
    expect(rows).toHaveLength(1_000);
    expect(rows[0]).toEqual({ task: "t9999", lastUsedAt: 9_999, usage: { ...NO_USAGE, costNanoUsd: 9_999 } });
    const kept = rows.slice(0, 999).reduce((sum, { usage }) => sum + usage.costNanoUsd, 0);
    expect(total.costNanoUsd).toBe((29_999 * 30_000) / 2);
    expect(rows[999]).toEqual({
      ...{ task: OTHERS, lastUsedAt: 29_999 },
      usage: { ...NO_USAGE, costNanoUsd: total.costNanoUsd - kept },
    });
    expect(OPERATIONS.usage.reply.safeParse({ rows, total }).success).toBe(true);
  });
});
