import fc from "fast-check";
import { expect, test } from "vitest";
import type { RotationOfLane } from "../src/bus/rotations.ts";
import { laneFairness } from "../src/fairness.ts";
import type { HostStats } from "../src/protocols/host-messages.ts";
import { agentAt, agentId, placeOf, type RosterRange, rosterSize } from "../src/protocols/rotation.ts";

const LANE = { pool: "default", kind: "echo", roster: 1 };

function stats(host: string, run: string, base: number, tickets: readonly number[]): HostStats {
  const lane = { pool: LANE.pool, kind: LANE.kind, base, tickets: [...tickets] };
  return { v: 1, host, run, lanes: [lane], running: [], abandoned: 0 };
}

const ranges: readonly RosterRange[] = [
  { host: "a", run: "r1", first: 0, count: 2, slots: 1 },
  { host: "b", run: "r2", first: 3, count: 1, slots: 1 },
];

test("turns follow from index, base and roster; skipped is what carried no task", () => {
  const lane: RotationOfLane = { ...LANE, index: 17, base: 10, ranges };
  const answers = new Map([
    ["a", stats("a", "r1", 10, [0, 3, 1, 1])],
    ["b", stats("b", "r2", 10, [3, 2])],
  ]);
  expect(laneFairness(lane, answers)).toEqual({
    pool: "default",
    kind: "echo",
    index: 17,
    base: 10,
    skew: 1,
    agents: [
      { agent: "a-0", host: "a", turns: 3, tickets: 3, skipped: 0 },
      { agent: "a-1", host: "a", turns: 2, tickets: 1, skipped: 1 },
      { agent: "b-3", host: "b", turns: 2, tickets: 2, skipped: 0 },
    ],
  });
});

test("counts of another roster are no counts of this one", () => {
  const lane: RotationOfLane = { ...LANE, index: 13, base: 10, ranges };
  const { agents } = laneFairness(lane, new Map([["a", stats("a", "r1", 4, [0, 9])]]));
  expect(agents[0]).toEqual({ agent: "a-0", host: "a", turns: 1, tickets: 0, skipped: 1 });
});

test("tickets are unknown where the host did not answer, or another incarnation did", () => {
  const lane: RotationOfLane = { ...LANE, index: 13, base: 10, ranges };
  const { agents } = laneFairness(lane, new Map([["a", stats("a", "another", 10, [0, 1])]]));
  expect(agents.map(({ tickets, skipped }) => [tickets, skipped])).toEqual(Array(3).fill([null, null]));
});

test("a lane without agents has no turns", () => {
  expect(laneFairness({ ...LANE, index: 5, base: 5, ranges: [] }, new Map())).toMatchObject({ skew: 0, agents: [] });
});

test("P4: turns are those of the tickets one by one, and at most 1 apart", () => {
  const range = fc.record({ first: fc.nat(9), count: fc.integer({ min: 1, max: 5 }), slots: fc.constant(1) });
  fc.assert(
    fc.property(fc.array(range, { minLength: 1, maxLength: 6 }), fc.nat(1_000), fc.nat(200), (parts, base, drawn) => {
      const roster = parts.map((part, i) => ({ ...part, host: `h${i}`, run: "r" }));
      const turns = new Map<string, number>();
      for (let ticket = base; ticket < base + drawn; ticket++) {
        const at = agentAt(roster, placeOf(ticket, base, rosterSize(roster)));
        const id = at === undefined ? "none" : agentId(at.host, at.agent);
        turns.set(id, (turns.get(id) ?? 0) + 1);
      }
      const lane = laneFairness({ ...LANE, index: base + drawn, base, ranges: roster }, new Map());
      expect(lane.agents.map(({ agent, turns: got }) => [agent, got])).toEqual(
        lane.agents.map(({ agent }) => [agent, turns.get(agent) ?? 0]),
      );
      expect(lane.skew).toBe(drawn % rosterSize(roster) === 0 ? 0 : 1);
    }),
  );
});
