/** P3, P4 and P5 with real dispatchers in processes of their own. */
import { beforeAll, describe, expect, it } from "vitest";
import { decode } from "../../src/bus/codec/codec.ts";
import { agentAt, agentId, placeOf, rosterSize, rotationRecord } from "../../src/protocols/rotation.ts";
import { rounds } from "../support/rounds.ts";
import { type Admin, FIXTURES, type Node, TestSwarm } from "../support/swarm.ts";
import { until } from "../support/wait.ts";

const ECHO = { pool: "default", kind: "echo" };
const COUNT = { pool: "default", kind: "count" };

describe("eight dispatchers", () => {
  const swarm = new TestSwarm();
  let up: Node;
  let worker: Node;
  let admin: Admin;

  beforeAll(async () => {
    const module = ["--module", `${FIXTURES}agents.ts`];
    up = await swarm.up("--agents", "4", "--slots", "10000", ...module);
    worker = await swarm.join("worker", "--roles", "agents", "--agents", "3", "--slots", "9000", ...module);
    await swarm.joinAll(7, "dispatcher", "--roles", "dispatcher");
    admin = await swarm.admin();
  });

  it("P3 P4: with room for everything draw contiguous tickets once each, and each falls to the agent that the rotation names", async () => {
    const before = await admin.rosterOf(ECHO, [up.hostId, worker.hostId]);
    const results = await admin.collect();
    const dealers = new Set<string>();
    let drawn = before.index;
    await admin.rotation.watch(admin.names.rotationKey(ECHO), ({ value }) => {
      const { index, by } = rotationRecord.parse(decode(value));
      if (index > drawn) dealers.add(by);
      drawn = index;
    });

    const tasks = rounds(3_000, 20_000);
    await admin.submit(
      "echo",
      Array.from({ length: tasks }, (_, i) => ({ input: i })),
    );
    await results.reach(tasks);

    const record = await admin.record(ECHO);
    const ranges = await admin.roster(ECHO);
    const size = rosterSize(ranges);
    expect(size).toBe(7);
    expect(record?.base).toBe(before.base);
    const tickets = results.all.map(({ ticket }) => ticket as number).sort((a, b) => a - b);
    expect(tickets).toEqual(Array.from({ length: tasks }, (_, i) => before.index + i));
    expect(record?.index).toBe(before.index + tasks);
    const turns = new Map<string, number>();
    for (const { ticket, agent } of results.all) {
      const place = agentAt(ranges, placeOf(ticket as number, before.base, size));
      expect(agent).toBe(place && agentId(place.host, place.agent));
      turns.set(agent as string, (turns.get(agent as string) ?? 0) + 1);
    }
    expect(Math.max(...turns.values()) - Math.min(...turns.values())).toBeLessThanOrEqual(1);
    // It was a race: more than one of them dealt.
    await until(() => drawn === record?.index);
    expect(dealers.size).toBeGreaterThan(1);
    expect(results.all).toHaveLength(tasks);
    await admin.acknowledged();
  });

  it("P4 P5: skip agents that are full, turns stay at most one apart, and no agent runs more than its slots", async () => {
    const { base } = await admin.rosterOf(COUNT, [up.hostId, worker.hostId]);
    const results = await admin.collect();

    const tasks = rounds(800, 3_000);
    await admin.submit(
      "count",
      Array.from({ length: tasks }, (_, i) => ({ input: { ms: i % 10 } })),
    );
    await results.reach(tasks);

    const slots = 3;
    const concurrent = results.all.map(({ output }) => (output as { readonly concurrent: number }).concurrent);
    expect(Math.max(...concurrent)).toBe(slots);

    const record = await admin.record(COUNT);
    const ranges = await admin.roster(COUNT);
    const size = rosterSize(ranges);
    expect(record?.base).toBe(base);
    const carried = new Map<string, number>();
    const seen = new Set<number>();
    for (const { ticket, agent } of results.all) {
      const place = agentAt(ranges, placeOf(ticket as number, base, size));
      expect(agent).toBe(place && agentId(place.host, place.agent));
      carried.set(agent as string, (carried.get(agent as string) ?? 0) + 1);
      expect(seen.has(ticket as number)).toBe(false);
      seen.add(ticket as number);
    }
    // Tickets were skipped, or the agents were never full and this proved nothing.
    const drawn = (record?.index ?? 0) - base;
    expect(drawn).toBeGreaterThan(tasks);
    // What the hosts count is what the results say.
    for (const node of [up, worker]) {
      const stats = await admin.stats(node.hostId);
      const lane = stats.lanes.find((each) => each.kind === "count" && each.base === base);
      for (let i = 0; i < (lane?.tickets.length ?? 0); i += 2) {
        expect(lane?.tickets[i + 1]).toBe(carried.get(agentId(node.hostId, lane?.tickets[i] as number)));
      }
    }
  });
});
