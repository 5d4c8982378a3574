/**
 * Nodes on machines of one network, told nothing but a token: P1, P2 and P6 when machines die and links break. The networks
 * have nothing to do with each other and wait side by side; the tests of one go one after the other.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Lan, type Station } from "../support/lan.ts";
import type { Node } from "../support/node.ts";
import { describeWith } from "../support/require.ts";
import { type Admin, FIXTURES } from "../support/swarm.ts";
import { TestNetwork } from "../support/test-network.ts";
import { eventually } from "../support/wait.ts";

const COUNT = { pool: "default", kind: "count" };
const MODULE = ["--agents", "0", "--module", `${FIXTURES}agents.ts`];
/** As many as a node of that module runs at once: five agents with three slots. */
const SLOTS = 15;

const ids = (sequences: readonly number[]): readonly string[] => sequences.map((sequence) => `s${sequence}`).sort();

interface Swarm {
  readonly stations: readonly Station[];
  readonly master: Station;
  readonly up: Node;
  readonly workers: readonly Node[];
  readonly hosts: readonly string[];
  readonly admin: Admin;
}

/** A master and two workers, let in by one token that is used up then. */
async function startSwarm(lan: Lan): Promise<Swarm> {
  const stations = await lan.stations(3);
  const [master, ...others] = stations as [Station, ...Station[]];
  const up = await master.up(...MODULE);
  const token = await master.token("--uses", "2");
  const workers = await Promise.all(others.map((each) => each.join("--token-file", token, ...MODULE)));
  const admin = await lan.admin(master);
  const hosts = [up, ...workers].map(({ hostId }) => hostId);
  await admin.rosterOf(COUNT, hosts);
  return { stations, master, up, workers, hosts, admin };
}

/** Resolves when the node was heard over both of its connections. After a cut it takes new ones for that. */
async function isHeard(admin: Admin, host: string): Promise<void> {
  await eventually(
    () =>
      admin.stats(host).then(
        () => true as const,
        () => undefined,
      ),
    `${host} to answer`,
  );
  await new Promise<void>((resolve, reject) => {
    admin.bus.subscribe(admin.names.heartbeat(host), () => resolve()).catch(reject);
  });
}

/** Runs `count` tasks, and expects each to have one result and every host to have run some. */
async function expectWorkOf(admin: Admin, hosts: readonly string[], count = 120): Promise<void> {
  const results = await admin.collect();
  const sequences = await admin.submit("count", new Array(count).fill({ input: { ms: 5 } }));
  await results.until(() => sequences.every((sequence) => results.byId.has(`s${sequence}`)));
  const own = ids(sequences).map((id) => results.byId.get(id));
  expect(own.every((result) => result?.status === "ok")).toBe(true);
  expect([...new Set(own.map((result) => result?.host))].sort()).toEqual([...hosts].sort());
  await admin.acknowledged();
  expect(await admin.storedOf(ids(sequences))).toBe(sequences.length);
}

describeWith("network", TestNetwork.missing()).concurrent("machines of one network", () => {
  describe.concurrent("that know a token and nothing else", () => {
    const lan = new Lan();
    let swarm: Swarm;

    it.sequential("are found, let in and given tasks; a restart needs no token", async () => {
      swarm = await startSwarm(lan);
      const { admin, hosts, workers, stations } = swarm;
      expect(new Set(hosts).size).toBe(3);
      await expectWorkOf(admin, hosts);

      expect(await workers[0]?.kill("SIGTERM")).toBe(0);
      await admin.rosterOf(
        COUNT,
        hosts.filter((host) => host !== workers[0]?.hostId),
      );
      const again = await (stations[1] as Station).join(...MODULE);
      expect(again.hostId).toBe(workers[0]?.hostId);
      swarm = { ...swarm, workers: [again, workers[1] as Node] };
      await admin.rosterOf(COUNT, hosts);
    });

    it.sequential("P1 P2: rejoin by themselves when the master's machine died and returned", async () => {
      const { admin, hosts, master, up, workers } = swarm;
      const results = await admin.collect();
      // However late the master is killed, one runs still.
      const go = join(lan.dir, "master-killed");
      const tasks = new Array(600).fill({ input: { ms: 200 } });
      const sequences = await admin.submit("count", [...tasks, { input: { until: go } }]);
      await results.until(() => results.all.length > 60);
      const broker = master.brokerPid();
      await Promise.all([up.kill("SIGKILL"), process.kill(broker, "SIGKILL")]);
      expect(results.all.length).toBeLessThan(sequences.length);
      writeFileSync(go, "");

      const again = await master.up(...MODULE);
      expect(again.hostId).toBe(up.hostId);
      expect(master.brokerPid()).not.toBe(broker);
      swarm = { ...swarm, up: again };
      await admin.rosterOf(COUNT, hosts);
      await admin.acknowledged();
      expect(await admin.storedOf(ids(sequences))).toBe(sequences.length);
      expect(workers.map(({ child }) => child.exitCode)).toEqual([null, null]);
      await expectWorkOf(admin, hosts);
    });

    it.sequential("come back when the master has another address", async () => {
      const { admin, hosts, master, workers } = swarm;
      await master.machine.changeAddress("10.77.9.9");
      // What each had to the former address is dead: it answers over what it made to the new one. Whether they leave the rotation
      // before depends on who notices it first.
      const [gone] = await Promise.all(workers.map(({ said }) => said(/another address/)));
      expect(gone).toBeDefined();
      await Promise.all(workers.map(({ hostId }) => isHeard(admin, hostId)));
      await admin.rosterOf(COUNT, hosts);
      await expectWorkOf(admin, hosts);
      expect(workers.map(({ child }) => child.exitCode)).toEqual([null, null]);
    });
  });

  describe.concurrent("one of which loses its link", () => {
    const lan = new Lan();

    it.sequential("P1 P2 P6: its tasks move, and after 30 s it comes back; nothing is lost or stored twice", async () => {
      const { admin, hosts, workers, stations } = await startSwarm(lan);
      const lost = workers[1] as Node;
      const { machine } = stations[2] as Station;
      const others = hosts.filter((host) => host !== lost.hostId);
      const results = await admin.collect();
      // However late the link is cut, what fills all slots runs still.
      const go = join(lan.dir, "link-cut");
      const held = new Array(hosts.length * SLOTS).fill({ input: { until: go } });
      const sequences = await admin.submit("count", [...held, ...new Array(355).fill({ input: { ms: 500 } })]);
      await eventually(async () => {
        const running = (await admin.stats(lost.hostId)).running.reduce((sum, each) => sum + each, 0);
        return running >= SLOTS ? true : undefined;
      }, "it to be full");
      await machine.cut();
      writeFileSync(go, "");
      await admin.rosterOf(COUNT, others);
      // This task is the clock: the link has been gone for 30 s at least when it has its result.
      await admin.submit("count", [{ id: "half-a-minute", input: { ms: 30_000 } }]);
      await results.until(() => sequences.every((sequence) => results.byId.has(`s${sequence}`)));
      // The fault struck: what it had begun was begun again elsewhere, and nothing came from it.
      const again = results.all.filter(({ attempt }) => attempt === 2);
      expect(again.length).toBeGreaterThanOrEqual(1);
      expect(again.every(({ host }) => host !== lost.hostId)).toBe(true);
      expect(results.all.filter(({ host }) => host === lost.hostId)).toEqual([]);
      await results.until(() => results.byId.has("half-a-minute"));
      expect(results.byId.get("half-a-minute")).toMatchObject({ status: "ok", attempt: 1 });

      const told = results.all.length;
      await machine.heal();
      await admin.rosterOf(COUNT, hosts);
      expect(lost.child.exitCode).toBe(null);
      await expectWorkOf(admin, hosts);
      await admin.acknowledged();
      // It told its late results, as every subscriber hears; what is stored is the first of each task, and nothing else.
      const late = results.all.slice(told).filter(({ id }) => ids(sequences).includes(id));
      expect(late.length).toBeGreaterThanOrEqual(1);
      expect(late.every(({ host }) => host === lost.hostId)).toBe(true);
      for (const { id } of late) expect(others).toContain((await admin.storedResult(id))?.host);
      expect(await admin.storedOf(ids(sequences))).toBe(sequences.length);
      expect(await admin.stored()).toBe(results.byId.size);
    });
  });
});
