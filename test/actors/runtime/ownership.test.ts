import { expect, test } from "vitest";
import { KvBucket } from "../../../src/bus/kv.ts";
import { Publisher } from "../../../src/bus/publisher.ts";
import { VgasError } from "../../../src/protocols/errors.ts";
import { ActorHost } from "../../support/actor-host.ts";
import { counter, type counterProtocol } from "../../support/actors.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { useNats } from "../../support/nats.ts";
import { TcpProxy } from "../../support/proxy.ts";
import { rejection } from "../../support/wait.ts";

const nats = useNats();
const limits = { leaseMs: 600 };
/** What passes between two looks at what has come of it. */
const STEP_MS = 25;

function ask(host: ActorHost, name: string): Promise<unknown> {
  return host.system.ref<typeof counterProtocol>(name).ask({ type: "add", by: 1 });
}

test("of hosts that spawn one swarm-wide name at once, one owns it and the others stand by", async () => {
  const hosts = await Promise.all(["r1", "r2", "r3", "r4"].map((id) => ActorHost.start(nats, id)));
  const handles = await Promise.all(hosts.map(({ system }) => system.spawn("raced", { ...counter, scope: "swarm" })));
  const phases = handles.map((handle) => handle.status().phase).sort();
  expect(phases).toEqual(["active", "standby", "standby", "standby"]);
  // One machine counts for all of them.
  const answers = await Promise.all(hosts.map((host) => ask(host, "raced")));
  expect(answers.map((answer) => (answer as { n: number }).n).sort()).toEqual([1, 2, 3, 4]);
  const standby = hosts[handles.findIndex((handle) => handle.status().phase === "standby")];
  const own = standby?.system.ask("raced", { type: "add" }, { host: standby.system.hostId });
  expect(await rejection(own ?? Promise.resolve())).toMatchObject({ code: "UNDELIVERABLE" });
});

test("a name is taken over when its owner's connection is gone without a word, with a higher epoch", async () => {
  const clock = new ManualClock();
  const [a, b] = [
    await ActorHost.start(nats, "t1", { limits, clock }),
    await ActorHost.start(nats, "t2", { limits, clock }),
  ];
  const first = await a.system.spawn("taken", { ...counter, scope: "swarm" });
  const second = await b.system.spawn("taken", { ...counter, scope: "swarm" });
  const epoch = first.status().epoch ?? 0;
  expect(await ask(b, "taken")).toEqual({ n: 1 });
  const order: string[] = [];
  a.system.inspect((event) => order.push(event.type === "stopped" ? `a stopped: ${event.reason}` : `a ${event.type}`));
  b.system.inspect((event) => order.push(`b ${event.type}`));
  await a.bus.close();
  await passes(clock, b, b.event("started", "taken"));
  expect(order).toEqual(["a stopped: lease-lost", "a standby", "b started"]);
  expect(second.status().epoch).toBeGreaterThan(epoch);
  await b.when(() => second.status().phase === "active");
  expect(await reachable(b, "taken")).toEqual({ n: 1 });
});

test("a host that was cut off stops its actor, comes back as standby, and what it had is answered", async () => {
  const proxy = await TcpProxy.to(nats.port);
  const clock = new ManualClock();
  const a = await ActorHost.start(nats, "c1", { limits, clock, connection: { url: proxy.url, pingIntervalMs: 200 } });
  const b = await ActorHost.start(nats, "c2", { limits, clock });
  const first = await a.system.spawn("cut", { ...counter, scope: "swarm" });
  await b.system.spawn("cut", { ...counter, scope: "swarm" });
  const held = rejection(first.ask({ type: "hold" }));
  proxy.deaf = true;
  await passes(clock, b, b.event("started", "cut"));
  expect(proxy.dropped).toBeGreaterThan(0);
  expect(a.events).toContainEqual(expect.objectContaining({ type: "stopped", reason: "lease-lost" }));
  expect(await held).toMatchObject({ code: "UNDELIVERABLE" });
  expect(first.status().phase).toBe("standby");
  proxy.deaf = false;
  proxy.cut();
  await a.bus.flush();
  expect(await passes(clock, b, reachable(a, "cut"))).toEqual({ n: 1 });
  expect(first.status().phase).toBe("standby");
  await a.system.stop();
  await proxy.close();
});

test("a graceful stop hands the name over before the lease would have ended", async () => {
  // A lease so long that only the release can explain a takeover.
  const long = { leaseMs: 3_000_000 };
  const a = await ActorHost.start(nats, "g1", { limits: long });
  const first = await a.system.spawn("handed", { ...counter, scope: "swarm" });
  expect(first.status().phase).toBe("active");
  await a.system.stop();
  const b = await ActorHost.start(nats, "g2", { limits: long });
  const second = await b.system.spawn("handed", { ...counter, scope: "swarm" });
  expect(second.status().phase).toBe("active");
  await b.system.stop();
});

test("a host that starts again on its home has its names back at once", async () => {
  const long = { leaseMs: 3_000_000 };
  const a = await ActorHost.start(nats, "same", { limits: long, run: "first" });
  await a.system.spawn("kept", { ...counter, scope: "swarm" });
  await a.bus.close();
  const again = await ActorHost.start(nats, "same", { limits: long, run: "second" });
  const handle = await again.system.spawn("kept", { ...counter, scope: "swarm" });
  expect(handle.status().phase).toBe("active");
  await again.system.stop();
  await a.system.stop({ graceMs: 0 });
});

test("owners survive a kill -9 of the nats-server: one owner before and after", async () => {
  // However long the server takes to come back.
  const long = { leaseMs: 3_000_000 };
  const [a, b] = [
    await ActorHost.start(nats, "k1", { limits: long }),
    await ActorHost.start(nats, "k2", { limits: long }),
  ];
  await a.system.spawn("broker", { ...counter, scope: "swarm" });
  await b.system.spawn("broker", { ...counter, scope: "swarm" });
  expect(await ask(b, "broker")).toEqual({ n: 1 });
  await nats.kill();
  await nats.start();
  await Promise.all([a.bus.flush(), b.bus.flush()]);
  expect(await reachable(b, "broker")).toEqual({ n: 2 });
  expect(b.events.map(({ type }) => type)).toEqual(["standby"]);
  await Promise.all([a.system.stop(), b.system.stop()]);
});

/** Lets time pass until `work` has come to its end. What `host` writes in one step of it is answered before the next, however slow the disk is. */
async function passes<T>(clock: ManualClock, host: ActorHost, work: Promise<T>): Promise<T> {
  const owners = new KvBucket(host.bus, new Publisher(host.bus), host.names.buckets.owners);
  let over = false;
  const end = work.finally(() => {
    over = true;
  });
  while (!over) {
    await clock.advance(STEP_MS);
    await owners.put("behind-it", new Uint8Array(0));
  }
  return await end;
}

/** The answer, once somebody has the name. A message may still be lost with a connection that the server believes in. */
async function reachable(host: ActorHost, name: string): Promise<unknown> {
  for (;;) {
    try {
      return await host.system.ask(name, { type: "add", by: 1 }, { timeoutMs: 500 });
    } catch (error) {
      const code = error instanceof VgasError ? error.code : undefined;
      if (code !== "UNDELIVERABLE" && code !== "TIMEOUT") throw error;
    }
  }
}
