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
  readonly evicted: { readonly host: string; readonly why: string }[] = [];
  /** Hosts at which a probe finds nobody. */
  readonly gone = new Set<string>();
  readonly monitor: Monitor;
  /** The connection stands, and nothing comes through. */
  deaf = false;
  readonly #bus: { state: BusState };
  #hear: (message: BusMessage) => void = () => undefined;

  constructor() {
    const names = new Names();
    const bus = {
      state: "connected" as BusState,
      flush: () => (this.deaf ? Promise.reject(new VgasError("TIMEOUT", "flush")) : Promise.resolve()),
      subscribe: (_subject: string, handler: (message: BusMessage) => void) => {
        this.#hear = handler;
        return Promise.resolve({ unsubscribe: () => undefined });
      },
      request: (operation: string, subject: string) => {
        const gone = [...this.gone].some((host) => names.host(host, "stats") === subject);
        return gone
          ? Promise.reject(new VgasError("UNDELIVERABLE", operation))
          : Promise.reject(new VgasError("TIMEOUT", operation));
      },
    };
    this.#bus = bus;
    this.monitor = new Monitor({
      bus: bus as unknown as Bus,
      names,
      clock: this.clock,
      logger: silentLogger,
      onChange: () => undefined,
      onEvicted: (host: HostView, why: string) => this.evicted.push({ host: host.id, why }),
      onBeat: () => undefined,
    });
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

  it("P6: evicts earlier when nobody listens there", async () => {
    const setup = await hearing("a", "b", "c");
    setup.gone.add("c");
    await setup.pass(2_000, ["a", "b"]);
    expect(setup.evicted).toEqual([{ host: "c", why: "nobody listens there" }]);
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
