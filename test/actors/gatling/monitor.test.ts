/** P6 and P7 on a clock that the test moves. */
import { describe, expect, it } from "vitest";
import type { HostView } from "../../../src/actors/gatling/fleet.ts";
import { Monitor } from "../../../src/actors/gatling/monitor.ts";
import type { Bus, BusMessage, BusState } from "../../../src/bus/bus.ts";
import { encode } from "../../../src/bus/codec/codec.ts";
import { VgasError } from "../../../src/protocols/errors.ts";
import type { Heartbeat } from "../../../src/protocols/host-messages.ts";
import { silentLogger } from "../../../src/protocols/logger.ts";
import { Names } from "../../../src/protocols/subjects.ts";
import { heartbeatOf } from "../../support/heartbeat.ts";
import { ManualClock } from "../../support/manual-clock.ts";

class Setup {
  readonly clock = new ManualClock();
  /** Hosts that changed the fleet, as lanes hear of it. */
  changes = 0;
  readonly evicted: { readonly host: string; readonly why: string }[] = [];
  /** Hosts at which a probe finds nobody. */
  readonly gone = new Set<string>();
  /** Hosts that answer probes; the others are too busy. */
  readonly answering = new Set<string>();
  probes = 0;
  /** Hosts that were asked to be heard. */
  readonly called: string[] = [];
  /** Called before a probe is answered. */
  beforeAnswer: () => void = () => undefined;
  readonly monitor: Monitor;
  /** The connection stands, and nothing comes through. */
  deaf = false;
  readonly #bus: { state: BusState };
  #hear: (message: BusMessage) => void = () => undefined;

  constructor() {
    const names = new Names();
    const bus = {
      state: "connected" as BusState,
      flush: (timeoutMs: number) =>
        new Promise<void>((resolve, reject) => {
          if (this.deaf) this.clock.setTimeout(() => reject(new VgasError("TIMEOUT", "flush")), timeoutMs);
          else resolve();
        }),
      subscribe: (_subject: string, handler: (message: BusMessage) => void) => {
        this.#hear = handler;
        return Promise.resolve({ unsubscribe: () => undefined });
      },
      request: (operation: string, subject: string) => {
        if (operation === "host.beat") {
          const [, , host = ""] = subject.split(".");
          this.called.push(host);
          if (this.gone.has(host)) return Promise.reject(new VgasError("UNDELIVERABLE", operation));
          return Promise.resolve({});
        }
        this.probes++;
        this.beforeAnswer();
        const isOneOf = (hosts: ReadonlySet<string>) =>
          [...hosts].some((host) => names.host(host, "stats") === subject);
        if (this.deaf) return Promise.reject(new VgasError("TIMEOUT", operation));
        if (isOneOf(this.gone)) return Promise.reject(new VgasError("UNDELIVERABLE", operation));
        if (isOneOf(this.answering)) return Promise.resolve({});
        return Promise.reject(new VgasError("TIMEOUT", operation));
      },
    };
    this.#bus = bus;
    this.monitor = new Monitor({
      bus: bus as unknown as Bus,
      names,
      clock: this.clock,
      logger: silentLogger,
      onChange: () => {
        this.changes++;
      },
      onEvicted: (host: HostView, why: string) => this.evicted.push({ host: host.id, why }),
      onBeat: () => undefined,
    });
  }

  host(id: string): HostView {
    const host = this.monitor.hosts.get(id);
    if (host === undefined) throw new Error(`${id} is not known`);
    return host;
  }

  connection(state: BusState): void {
    this.#bus.state = state;
  }

  beat(host: string, more: Partial<Heartbeat> = {}): void {
    const heartbeat = heartbeatOf({ host, ...more });
    this.#hear({ data: encode(heartbeat) } as BusMessage);
  }

  /** Lets `ms` pass in steps of a tick, with a heartbeat of `alive` in each. */
  async pass(ms: number, alive: readonly string[] = []): Promise<void> {
    for (let passed = 0; passed < ms; passed += 250) {
      for (const host of alive) this.beat(host);
      await this.clock.advance(250);
    }
  }
}

async function hearing(...hosts: readonly string[]): Promise<Setup> {
  const setup = new Setup();
  await setup.monitor.start();
  for (const host of hosts) setup.beat(host);
  return setup;
}

describe("Monitor", () => {
  it("P6: evicts a silent host after three seconds and not before", async () => {
    const setup = await hearing("a", "b", "c");
    await setup.pass(3_000, ["a", "b"]);
    expect(setup.evicted).toEqual([]);
    await setup.pass(250, ["a", "b"]);
    expect(setup.evicted.map(({ host }) => host)).toEqual(["c"]);
    expect([...setup.monitor.hosts.keys()]).toEqual(["a", "b"]);
  });

  it("P6: evicts earlier when a heartbeat is missed and nobody has listened there for half a second", async () => {
    const setup = await hearing("a", "b", "c");
    setup.gone.add("c");
    await setup.pass(1_500, ["a", "b"]);
    expect(setup.evicted).toEqual([]);
    await setup.pass(250, ["a", "b"]);
    expect(setup.evicted).toEqual([{ host: "c", why: "nobody listens there" }]);
  });

  it("P6: counts the half second from when something was sent there to nobody", async () => {
    const setup = await hearing("a", "b", "c");
    await setup.pass(1_000, ["a", "b"]);
    setup.gone.add("c");
    setup.monitor.suspend(setup.host("c"));
    await setup.pass(250, ["a", "b"]);
    expect(setup.evicted).toEqual([]);
    await setup.pass(250, ["a", "b"]);
    expect(setup.evicted).toEqual([{ host: "c", why: "nobody listens there" }]);
  });

  it.each(["busy", "answering"])(
    "P6: keeps a host whose connection is back before the half second is over: %s",
    async (how) => {
      const setup = await hearing("a", "b", "c");
      if (how === "answering") setup.answering.add("c");
      setup.gone.add("c");
      await setup.pass(1_500, ["a", "b"]);
      setup.gone.delete("c");
      await setup.pass(250, ["a", "b"]);
      setup.beat("c");
      // What was found before does not count with what is found later.
      setup.gone.add("c");
      await setup.pass(1_500, ["a", "b"]);
      expect(setup.evicted).toEqual([]);
    },
  );

  it("P6: keeps a host where nobody listens for as long as its heartbeat comes, and gives it nothing until a probe is answered", async () => {
    const setup = await hearing("a", "b", "c");
    const c = setup.host("c");
    setup.gone.add("c");
    setup.monitor.suspend(c);
    await setup.pass(10_000, ["a", "b", "c"]);
    expect([setup.evicted, c.state, c.usable]).toEqual([[], "suspended", false]);
    expect(setup.monitor.states()).toEqual({ up: 2, suspended: 1, leaving: 0 });
    setup.gone.delete("c");
    await setup.pass(500, ["a", "b", "c"]);
    expect(c.state).toBe("suspended");
    setup.answering.add("c");
    await setup.pass(250, ["a", "b", "c"]);
    expect([c.state, c.usable]).toEqual(["up", true]);
    const { probes } = setup;
    await setup.pass(1_000, ["a", "b", "c"]);
    expect(setup.probes).toBe(probes);
  });

  it("P6: evicts a host that drains as any other when it falls silent", async () => {
    const setup = await hearing("a", "b", "c");
    setup.monitor.leave(setup.host("c"));
    await setup.pass(3_250, ["a", "b"]);
    expect(setup.evicted).toEqual([{ host: "c", why: "it fell silent" }]);
  });

  it("P7: evicts nobody after it was stalled itself", async () => {
    const setup = await hearing("a", "b", "c");
    setup.clock.jump(60_000);
    await setup.pass(2_500);
    expect(setup.evicted).toEqual([]);
  });

  it("P7: evicts nobody while its connection is down, nor for what it missed", async () => {
    const setup = await hearing("a", "b", "c");
    setup.connection("disconnected");
    await setup.pass(60_000);
    setup.connection("connected");
    await setup.pass(2_500);
    expect(setup.evicted).toEqual([]);
    await setup.pass(15_000);
    expect(setup.evicted).toHaveLength(3);
  });

  it("P7: does not take for gone whoever the same cut keeps away a little longer, and evicts who does not come back", async () => {
    const setup = await hearing("a", "b", "c");
    // Known to be missing when we were cut off: that is forgiven too.
    setup.gone.add("c");
    await setup.pass(1_250, ["a", "b"]);
    setup.connection("disconnected");
    await setup.pass(500);
    setup.connection("connected");
    for (const host of ["a", "b"]) setup.gone.add(host);
    await setup.pass(2_750);
    expect(setup.evicted).toEqual([]);
    for (const host of ["a", "b"]) setup.gone.delete(host);
    await setup.pass(1_000, ["a", "b"]);
    expect(setup.evicted.map(({ host }) => host)).toEqual(["c"]);
  });

  it("P7: silence counts only after a round trip that was begun in it, and what was missed meanwhile is forgiven", async () => {
    const setup = await hearing("a", "b", "c");
    await setup.pass(1_250, ["a", "b"]);
    setup.deaf = true;
    // The loop hangs for as long as is not yet a stall, so that the round trip is still open when three seconds are over.
    setup.clock.jump(1_000);
    await setup.pass(30_000, ["a", "b"]);
    expect(setup.evicted).toEqual([]);
    setup.deaf = false;
    await setup.pass(3_000, ["a", "b"]);
    expect(setup.evicted).toEqual([]);
    await setup.pass(1_500, ["a", "b"]);
    expect(setup.evicted.map(({ host }) => host)).toEqual(["c"]);
  });

  it("P7: nothing that a probe finds while the connection is down evicts anybody", async () => {
    const setup = await hearing("a", "b", "c");
    setup.gone.add("c");
    await setup.pass(1_500, ["a", "b"]);
    // The answer of the next probe comes when the connection is gone already.
    setup.beforeAnswer = () => setup.connection("disconnected");
    await setup.pass(1_000, ["a", "b"]);
    expect(setup.evicted).toEqual([]);
  });

  it("wall clocks that jump, ours or theirs, decide nothing", async () => {
    const setup = await hearing("a", "b", "c");
    setup.clock.wallOffset += 3_600_000;
    setup.beat("a", { at: 0 });
    await setup.pass(2_000, ["a", "b", "c"]);
    setup.clock.wallOffset -= 7_200_000;
    await setup.pass(2_000, ["a", "b", "c"]);
    expect(setup.evicted).toEqual([]);
    await setup.pass(3_250, ["a", "b"]);
    expect(setup.evicted.map(({ host }) => host)).toEqual(["c"]);
  });

  it("knows every living host three seconds after it began, and after it was cut off", async () => {
    const setup = await hearing("a");
    const settledAfter = async (): Promise<number> => {
      for (let ms = 0; ; ms += 250) {
        if (setup.monitor.settled) return ms;
        await setup.pass(250, ["a"]);
      }
    };
    expect(await settledAfter()).toBe(3_250);
    setup.connection("disconnected");
    await setup.pass(250);
    expect(setup.monitor.settled).toBe(false);
    setup.connection("connected");
    await setup.pass(250, ["a"]);
    expect(await settledAfter()).toBe(3_250);
  });

  it("of a roster waits for who was not heard and answers, and not where nobody listens", async () => {
    const setup = await hearing("a");
    const roster = ["a", "there", "gone"].map((host) => ({ host }));
    setup.gone.add("gone");
    expect([setup.monitor.knows(roster), setup.monitor.knows(roster)]).toEqual([false, false]);
    await setup.clock.advance(0);
    // Told that nobody listens there.
    expect(setup.changes).toBe(2);
    expect(setup.monitor.knows(roster)).toBe(false);
    setup.beat("there");
    expect([setup.monitor.knows(roster), setup.monitor.heard(roster)]).toEqual([true, false]);
    setup.beat("gone");
    expect(setup.monitor.heard(roster)).toBe(true);
    expect(setup.called).toEqual(["there", "gone"]);
  });

  it("asks anew after it was cut off, and waits for nobody for longer than three seconds", async () => {
    const setup = await hearing("a");
    const roster = [{ host: "gone" }];
    setup.gone.add("gone");
    setup.monitor.knows(roster);
    await setup.clock.advance(0);
    expect(setup.monitor.knows(roster)).toBe(true);
    setup.connection("disconnected");
    await setup.pass(250);
    setup.connection("connected");
    await setup.pass(250, ["a"]);
    // Another one listens there now, and is never heard.
    setup.gone.delete("gone");
    expect(setup.monitor.knows(roster)).toBe(false);
    await setup.pass(3_000, ["a"]);
    expect([setup.monitor.knows(roster), setup.monitor.heard(roster)]).toEqual([false, false]);
    await setup.pass(250, ["a"]);
    expect([setup.monitor.knows(roster), setup.monitor.heard(roster)]).toEqual([true, true]);
    expect(setup.called).toEqual(["gone", "gone"]);
  });

  it("tells once of each that comes and goes, and counts a return as a new host", async () => {
    const setup = await hearing("a", "b", "c");
    expect(setup.changes).toBe(3);
    const before = setup.host("c");
    await setup.pass(5_000, ["a", "b"]);
    expect([setup.changes, setup.evicted.length, before.state]).toEqual([4, 1, "out"]);
    setup.beat("c");
    const after = setup.host("c");
    expect([setup.changes, after === before, after.usable]).toEqual([5, false, true]);
    // Who still holds the old one changes nothing of the new one.
    setup.monitor.replaced(before);
    setup.monitor.leave(before);
    expect([setup.changes, setup.evicted.length, setup.host("c").state]).toEqual([5, 1, "up"]);
  });

  it("P7: evicts nobody while its connection stands and is deaf", async () => {
    const setup = await hearing("a", "b", "c");
    setup.deaf = true;
    await setup.pass(60_000);
    setup.deaf = false;
    await setup.pass(2_500);
    expect(setup.evicted).toEqual([]);
    await setup.pass(15_000);
    expect(setup.evicted).toHaveLength(3);
  });

  it("P7: doubts itself when more than half fall silent at once, unless a probe proves it", async () => {
    const setup = await hearing("a", "b", "c", "d");
    setup.gone.add("b");
    await setup.pass(6_000, ["a"]);
    expect(setup.evicted.map(({ host }) => host)).toEqual(["b"]);
    const doubting = await hearing("a", "b", "c");
    await doubting.pass(9_000, ["a"]);
    expect(doubting.evicted).toEqual([]);
    await doubting.pass(2_000, ["a"]);
    expect(doubting.evicted.map(({ host }) => host)).toEqual(["b", "c"]);
  });

  it("evicts a stalled host at once, and takes it back when its loop turns again", async () => {
    const setup = await hearing("a", "b");
    setup.beat("b", { stalled: true });
    expect(setup.evicted).toEqual([{ host: "b", why: "a task blocks it past its deadline" }]);
    setup.beat("b");
    expect(setup.monitor.hosts.get("b")?.usable).toBe(true);
  });

  it("replaces a host that started again", async () => {
    const setup = await hearing("a");
    setup.beat("a", { run: "later" });
    expect(setup.evicted).toEqual([{ host: "a", why: "it started again" }]);
    expect(setup.monitor.hosts.get("a")?.run).toBe("later");
  });

  it("gives a draining host nothing and does not evict it", async () => {
    const setup = await hearing("a");
    setup.beat("a", { draining: true });
    expect(setup.monitor.hosts.get("a")?.state).toBe("leaving");
    expect(setup.evicted).toEqual([]);
  });

  it("survives heartbeats that are none", async () => {
    const setup = await hearing("a");
    setup.beat("a", { running: "many" as unknown as number[] });
    expect([...setup.monitor.hosts.keys()]).toEqual(["a"]);
  });
});
