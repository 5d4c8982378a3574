/** Discovery over a link in memory: the real bonjour-service encodes and decodes, the clock is the test's. */
import { describe, expect, onTestFinished, test } from "vitest";
import { createActor } from "xstate";
import type { MdnsCandidate } from "../../../src/protocols/discovery.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { announcement } from "./forge.ts";
import { ipv4, MASTER, MemoryLink, MemoryMachine, pair, SLAVE, settle, started } from "./memory-network.ts";

function error(code: string): Error {
  return Object.assign(new Error(code), { code });
}

describe("two nodes on a link", () => {
  test("see each other at once, with everything that they announce", async () => {
    const { clock, master, slave } = await pair();
    expect(slave.discovery.peers()).toEqual([
      {
        ...{ id: "master", mode: "master", swarm: "abcdefghij", pinPrefix: "0123456789abcdef" },
        ...{ addresses: ["10.0.0.1"], port: 8080, natsPort: 4222, state: "seen", since: clock.now() },
      },
    ]);
    expect(master.discovery.peers()).toMatchObject([
      { id: "slave", mode: "slave", addresses: ["10.0.0.2"], port: 8081 },
    ]);
  });

  test("a node does not find itself", async () => {
    const { master } = await pair();
    expect(master.discovery.peers().map(({ id }) => id)).toEqual(["slave"]);
    expect(master.warnings).toEqual([]);
  });

  test("one that stops says goodbye, and comes back with its next announcement", async () => {
    const { clock, link, master, slave } = await pair();
    await master.discovery.stop();
    await settle();
    expect(slave.discovery.peers()).toMatchObject([{ id: "master", state: "lost", why: "said goodbye" }]);
    await started(link, "10.0.0.1", clock, { self: MASTER });
    expect(slave.state("master")).toBe("seen");
  });

  test("one that falls silent is lost when its time is over, and not before", async () => {
    const { clock, link, slave } = await pair();
    link.cut = true;
    await clock.advance(119_000);
    expect(slave.state("master")).toBe("seen");
    await clock.advance(2_000);
    expect(slave.discovery.peers()).toMatchObject([{ id: "master", state: "lost", why: "fell silent" }]);
  });

  test("who is alive stays known for an hour", async () => {
    const { clock, slave, master } = await pair();
    await clock.advance(3_600_000);
    expect(slave.state("master")).toBe("seen");
    expect(master.state("slave")).toBe("seen");
    expect(slave.changes.filter(({ state }) => state === "lost")).toEqual([]);
  });

  test("ask rarely once the start is over", async () => {
    const { clock, link } = await pair();
    await clock.advance(600_000);
    const before = link.sent.length;
    await clock.advance(600_000);
    // Each question is asked by one of them, and answered by both: three datagrams in 50 s.
    expect(link.sent.length - before).toBeLessThan(60);
    expect(link.sent.length - before).toBeGreaterThan(20);
  });

  test("a short time to live is asked for before it ends", async () => {
    const clock = new ManualClock();
    const link = new MemoryLink();
    const slave = await started(link, "10.0.0.2", clock, { self: SLAVE, ttlS: 10 });
    const master = await started(link, "10.0.0.1", clock, { self: MASTER, ttlS: 10 });
    await clock.advance(300_000);
    expect(slave.changes.map(({ state }) => state)).toEqual(["seen"]);
    expect(master.state("slave")).toBe("seen");
    link.cut = true;
    await clock.advance(12_000);
    expect(slave.state("master")).toBe("lost");
  });

  test("what is announced can change", async () => {
    const { master, slave } = await pair();
    slave.discovery.announce({ swarmId: "abcdefghij", httpPort: 9090 });
    await settle();
    expect(master.discovery.peers()).toMatchObject([{ id: "slave", swarm: "abcdefghij", port: 9090, state: "seen" }]);
    slave.discovery.announce({}, false);
    await settle();
    expect(master.state("slave")).toBe("lost");
  });

  test("one that only looks is not announced", async () => {
    const clock = new ManualClock();
    const link = new MemoryLink();
    const master = await started(link, "10.0.0.1", clock, { self: MASTER });
    const looking = await started(link, "10.0.0.2", clock, { self: SLAVE, advertise: false });
    expect(looking.state("master")).toBe("seen");
    expect(master.discovery.peers()).toEqual([]);
  });
});

describe("candidates", () => {
  test("are the masters, those known and those to come, and again when they announce something else", async () => {
    const { link, slave } = await pair();
    const seen: MdnsCandidate[] = [];
    const stop = slave.discovery.asCandidates().watch((candidate) => seen.push(candidate));
    const first = {
      id: "master",
      swarmId: "abcdefghij",
      pinPrefix: "0123456789abcdef",
      port: 8080,
      natsPort: 4222,
      source: "mdns",
    };
    expect(seen).toEqual([{ ...first, addresses: ["10.0.0.1"] }]);
    link.deliver(announcement({ id: "other" }), "10.0.0.9");
    link.deliver(announcement({ id: "worker", mode: "slave" }), "10.0.0.9");
    slave.discovery.mark("other", "dialing");
    link.deliver(announcement({ id: "other", addresses: ["10.0.0.8"] }), "10.0.0.8");
    expect(seen.slice(1)).toMatchObject([
      { id: "other", addresses: ["10.0.0.9"] },
      { id: "other", addresses: ["10.0.0.8", "10.0.0.9"] },
    ]);
    stop();
    link.deliver(announcement({ id: "third" }), "10.0.0.9");
    expect(seen).toHaveLength(3);
  });
});

describe("trouble", () => {
  test.each([["EADDRINUSE"], ["EACCES"], ["ENODEV"], ["ENETUNREACH"]])(
    "%s: one warning, off, and on when it is over",
    async (code) => {
      const clock = new ManualClock();
      const machine = new MemoryMachine(new MemoryLink(), "10.0.0.1", clock, { self: MASTER });
      onTestFinished(() => machine.discovery.stop());
      machine.refuses = error(code);
      await machine.discovery.start();
      await clock.advance(60_000);
      expect(machine.warnings).toHaveLength(1);
      expect(machine.discovery.report()).toMatchObject({ state: "off", why: expect.stringContaining(code) });
      machine.refuses = undefined;
      await clock.advance(5_000);
      expect(machine.discovery.report()).toMatchObject({ state: "on", addresses: ["10.0.0.1"] });
      expect(machine.warnings).toHaveLength(1);
    },
  );

  test("no interface: one warning, off, and on as soon as one comes", async () => {
    const clock = new ManualClock();
    const machine = new MemoryMachine(new MemoryLink(), "10.0.0.1", clock, { self: MASTER });
    onTestFinished(() => machine.discovery.stop());
    machine.all = { lo: [ipv4("127.0.0.1", "255.0.0.0", true)], docker0: [ipv4("172.17.0.1", "255.255.0.0")] };
    await machine.discovery.start();
    await clock.advance(60_000);
    expect(machine.warnings).toHaveLength(1);
    expect(machine.discovery.report().state).toBe("off");
    machine.all = { eth0: [ipv4("10.0.0.1")] };
    await clock.advance(4_000);
    expect(machine.discovery.addresses).toEqual(["10.0.0.1"]);
  });

  test("a system that does not tell its interfaces is trouble too", async () => {
    const clock = new ManualClock();
    const machine = new MemoryMachine(new MemoryLink(), "10.0.0.1", clock, { self: MASTER });
    machine.all = error("ERR_SYSTEM_ERROR");
    await machine.discovery.start();
    expect(machine.warnings).toHaveLength(1);
    expect(machine.discovery.report().state).toBe("off");
    await machine.discovery.stop();
    expect(clock.armed).toBe(0);
  });

  test("a socket that fails later is opened again", async () => {
    const { clock, link, master, slave } = await pair();
    link.fail(error("ENETDOWN"));
    expect(slave.discovery.report()).toMatchObject({ state: "off", why: "ENETDOWN" });
    await clock.advance(5_000);
    expect(link.open).toBe(2);
    expect(slave.state("master")).toBe("seen");
    expect(slave.warnings).toHaveLength(1);
    expect(master.warnings).toHaveLength(1);
  });

  test("an address that changes is followed, and the new one is told first", async () => {
    const { clock, master, slave } = await pair();
    master.all = { eth0: [ipv4("10.0.0.77")] };
    await clock.advance(4_000);
    expect(slave.discovery.peers()).toMatchObject([{ id: "master", addresses: ["10.0.0.77", "10.0.0.1"] }]);
    await clock.advance(130_000);
    expect(slave.discovery.peers()).toMatchObject([{ id: "master", addresses: ["10.0.0.77"], state: "seen" }]);
    expect(master.warnings).toEqual([]);
  });
});

describe("start and stop", () => {
  test("stop works before start, twice, and leaves no timer and no socket", async () => {
    const clock = new ManualClock();
    const link = new MemoryLink();
    const never = new MemoryMachine(link, "10.0.0.1", clock, { self: MASTER });
    await never.discovery.stop();
    await never.discovery.start();
    const machine = await started(link, "10.0.0.1", clock, { self: MASTER });
    await Promise.all([machine.discovery.stop(), machine.discovery.stop()]);
    expect(link.open).toBe(0);
    expect(clock.armed).toBe(0);
  });

  test("a stop while an interface is opened closes it again", async () => {
    const clock = new ManualClock();
    const link = new MemoryLink();
    const machine = new MemoryMachine(link, "10.0.0.1", clock, { self: MASTER });
    const starting = machine.discovery.start();
    await machine.discovery.stop();
    await starting;
    expect(link.open).toBe(0);
    expect(clock.armed).toBe(0);
  });

  test("a listener that throws does no harm", async () => {
    const clock = new ManualClock();
    const link = new MemoryLink();
    const onPeer = (): void => {
      throw new Error("a listener");
    };
    const machine = await started(link, "10.0.0.1", clock, { self: MASTER, onPeer });
    link.deliver(announcement({ id: "other" }), "10.0.0.9");
    expect(machine.state("other")).toBe("seen");
  });

  test("a peer that was told to have joined before it is announced has joined when it is", async () => {
    const { link, slave } = await pair();
    slave.discovery.mark("late", "joined");
    link.deliver(announcement({ id: "late" }), "10.0.0.9");
    expect(slave.state("late")).toBe("joined");
  });
});

describe("the hosted chart", () => {
  test("is told what is true when it starts, follows it, and answers who asks", async () => {
    const { clock, link, slave } = await pair();
    const { machine, input } = slave.discovery.definition();
    const chart = createActor(machine, { input: input as never });
    chart.start();
    expect(chart.getSnapshot().value).toEqual({ on: { advertising: "announced", browsing: "watching" } });
    link.deliver(announcement({ id: "slave", addresses: ["10.0.0.66"] }), "10.0.0.66");
    expect(chart.getSnapshot().value).toMatchObject({ on: { advertising: "contested" } });
    const replies: unknown[] = [];
    chart.send({ type: "peers", reply: (value) => replies.push(value), fail: () => undefined });
    expect(replies).toEqual([slave.discovery.report()]);
    link.cut = true;
    await clock.advance(130_000);
    expect(chart.getSnapshot().value).toEqual({ on: { advertising: "announced", browsing: "searching" } });
    await slave.discovery.stop();
    expect(chart.getSnapshot().value).toBe("off");
    expect(chart.getSnapshot().context.why).toBe("stopped");
    chart.stop();
  });
});
