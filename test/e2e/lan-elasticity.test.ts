/** P1, P3, P4 and P8 while nodes come and go: many of them, let in by one token, under a load that never ends. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { decode } from "../../src/bus/codec/codec.ts";
import {
  agentAt,
  agentId,
  placeOf,
  type RosterRange,
  type RotationRecord,
  roster,
  rosterSize,
  rotationRecord,
} from "../../src/protocols/rotation.ts";
import { vgas } from "../cli/support.ts";
import { rounds } from "../support/rounds.ts";
import { type Admin, FIXTURES, type Node, type Results, TestSwarm } from "../support/swarm.ts";
import { until } from "../support/wait.ts";

const COUNT = { pool: "default", kind: "count" };
const MODULE = ["--agents", "0", "--module", `${FIXTURES}agents.ts`];
const NODES = rounds(6, 10);
/** Heartbeats come once a second: two of them are the two seconds that a node may take to be in the rotation. */
const MAX_BEATS = 2;

/** Every record and roster of a lane, in the order of their writing. */
class Rotation {
  readonly records: RotationRecord[] = [];
  readonly rosters = new Map<number, readonly RosterRange[]>();
  readonly #waiters = new Set<() => void>();

  static async watch({ rotation, names }: Admin): Promise<Rotation> {
    const seen = new Rotation();
    await rotation.watch(names.rosterKey(COUNT), ({ value, revision, deleted }) => {
      if (!deleted) seen.rosters.set(revision, roster.parse(decode(value)).ranges);
      seen.#tell();
    });
    await rotation.watch(names.rotationKey(COUNT), ({ value, deleted }) => {
      if (!deleted) seen.records.push(rotationRecord.parse(decode(value)));
      seen.#tell();
    });
    return seen;
  }

  /** Resolves when the roster in force has `host`, or no longer has it. */
  async inForce(host: string, wanted: boolean): Promise<void> {
    const holds = (): boolean => {
      const ranges = this.rosters.get(this.records.at(-1)?.roster ?? -1);
      return ranges !== undefined && ranges.some((range) => range.host === host) === wanted;
    };
    while (!holds()) await new Promise<void>((resolve) => this.#waiters.add(resolve));
  }

  /** The agent that `ticket` falls to. */
  agentOf(ticket: number): string | undefined {
    // A roster that was replaced before a ticket was drawn began at the same index as its successor.
    const record = this.records.findLast(({ base }) => base <= ticket);
    const ranges = this.rosters.get(record?.roster ?? -1) ?? [];
    const place = record && agentAt(ranges, placeOf(ticket, record.base, rosterSize(ranges)));
    return place && agentId(place.host, place.agent);
  }

  #tell(): void {
    for (const waiter of this.#waiters) waiter();
    this.#waiters.clear();
  }
}

/** Keeps tasks waiting until it is told to stop; then all that were submitted. */
function keepBusy(admin: Admin, results: Results): { stop(): Promise<readonly number[]> } {
  let stopped = false;
  const submitted: number[] = [];
  const pump = async (): Promise<readonly number[]> => {
    while (!stopped) {
      submitted.push(...(await admin.submit("count", new Array(100).fill({ input: { ms: 250 } }))));
      await results.until(() => submitted.length - results.byId.size < 200);
    }
    return submitted;
  };
  const running = pump();
  return {
    stop: () => {
      stopped = true;
      return running;
    },
  };
}

describe("nodes that join and leave under load", () => {
  const swarm = new TestSwarm();

  it("P1 P3 P4 P8: are in the rotation at once, lose nothing, and keep it exact", async () => {
    const up = await swarm.up("--lan", "--no-mdns", ...MODULE);
    const created = await vgas(["token", "create", "--role", "dispatcher", "--uses", String(NODES), "--home", up.home]);
    const token = join(mkdtempSync(join(swarm.dir, "token-")), "token");
    writeFileSync(token, created.out, { mode: 0o600 });
    const flags = ["--token-file", token, "--no-mdns", "--peer", `127.0.0.1:${new URL(up.http).port}`, ...MODULE];
    const admin = await swarm.admin();
    await admin.rosterOf(COUNT, [up.hostId]);
    const rotation = await Rotation.watch(admin);
    const results = await admin.collect();
    const load = keepBusy(admin, results);

    const comes = async (_: unknown, i: number): Promise<Node> => {
      // Every other one deals tasks as well.
      const node = await swarm.joinBy(...flags, "--roles", i % 2 === 0 ? "agents" : "agents,dispatcher");
      let beats = 0;
      // One counts when the master, a dispatcher too, has answered what was asked after it: it has heard it, and its loop has turned.
      const heard = await admin.bus.subscribe(admin.names.heartbeat(node.hostId), () =>
        admin.bus.request("ping", `$SRV.PING.vgas.${up.hostId}`, new Uint8Array(0), { timeoutMs: 60_000 }).then(
          () => void beats++,
          () => undefined,
        ),
      );
      await rotation.inForce(node.hostId, true);
      expect(beats).toBeLessThanOrEqual(MAX_BEATS);
      heard.unsubscribe();
      await results.until(() => results.all.some(({ host }) => host === node.hostId));
      return node;
    };
    const leaves = async (node: Node): Promise<void> => {
      expect(await node.kill("SIGTERM")).toBe(0);
      await rotation.inForce(node.hostId, false);
    };
    const nodes = await Promise.all(Array.from({ length: NODES }, comes));
    expect(new Set(nodes.map(({ hostId }) => hostId)).size).toBe(NODES);
    await Promise.all(nodes.slice(0, NODES / 2).map(leaves));
    for (const node of nodes.slice(NODES / 2)) await leaves(node);
    const sequences = await load.stop();
    await results.reach(sequences.length);
    await admin.acknowledged();
    const { index } = (await admin.record(COUNT)) as RotationRecord;
    await until(() => rotation.records.at(-1)?.index === index);

    // P1, P2, P8: each has its one result, and none was begun twice although its node left.
    expect([...results.byId.keys()].sort()).toEqual(sequences.map((sequence) => `s${sequence}`).sort());
    expect(results.all).toHaveLength(sequences.length);
    expect(await admin.stored()).toBe(sequences.length);
    expect(results.all.filter(({ status, attempt }) => status !== "ok" || attempt !== 1)).toEqual([]);

    // P3: no ticket twice; the index only grows, and a roster begins where the one before it ended.
    const tickets = results.all.map(({ ticket }) => ticket as number);
    expect(new Set(tickets).size).toBe(tickets.length);
    const { records } = rotation;
    expect(Math.max(...tickets)).toBeLessThan(index);
    const wrong = records.filter(({ index, base, roster: revision }, i) => {
      const before = records[i - 1];
      if (before === undefined) return false;
      return index < before.index || base !== (revision === before.roster ? before.base : before.index);
    });
    expect(wrong).toEqual([]);
    // P4: every ticket fell to the agent that the roster of its time names.
    expect(results.all.filter(({ ticket, agent }) => rotation.agentOf(ticket as number) !== agent)).toEqual([]);
  });
});
