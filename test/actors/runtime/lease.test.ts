import { describe, expect, test } from "vitest";
import { Lease } from "../../../src/actors/runtime/lease.ts";
import { encode } from "../../../src/bus/codec/codec.ts";
import { silentLogger } from "../../../src/protocols/logger.ts";
import { ManualClock, turns } from "../../support/manual-clock.ts";
import { MemoryOwners } from "../../support/memory-owners.ts";

const LEASE_MS = 1_000;

function contender(host: string, options: { owners: MemoryOwners; clock: ManualClock; run?: string }) {
  const log: string[] = [];
  const lease = new Lease({
    name: "counter",
    host,
    run: options.run ?? `${host}-1`,
    owners: options.owners,
    clock: options.clock,
    random: () => 0.5,
    logger: silentLogger,
    leaseMs: LEASE_MS,
    acquired: () => log.push("acquired"),
    lost: (reason) => log.push(`lost: ${reason}`),
  });
  return { lease, log };
}

test("the first one holds the name, renews it, and the second one waits as long as that goes on", async () => {
  const [owners, clock] = [new MemoryOwners(), new ManualClock()];
  const [a, b] = [contender("a", { owners, clock }), contender("b", { owners, clock })];
  await a.lease.start();
  await b.lease.start();
  expect([a.lease.held, b.lease.held]).toEqual([true, false]);
  await clock.advance(20 * LEASE_MS);
  expect([a.lease.held, b.lease.held]).toEqual([true, false]);
  expect(b.log).toEqual([]);
});

test("a holder that vanishes is followed after its lease, with a higher epoch, and never before", async () => {
  const owners = new MemoryOwners();
  const [clockA, clockB] = [new ManualClock(), new ManualClock()];
  const [a, b] = [contender("a", { owners, clock: clockA }), contender("b", { owners, clock: clockB })];
  await a.lease.start();
  const epoch = a.lease.epoch ?? 0;
  await b.lease.start();
  // The clock of a stands still: its process is dead.
  await clockB.advance(LEASE_MS * 1.25 - 1);
  expect(b.lease.held).toBe(false);
  await clockB.advance(LEASE_MS);
  expect(b.lease.held).toBe(true);
  expect(b.lease.epoch).toBeGreaterThan(epoch);
});

test("a holder that cannot renew stops before anybody else may take over", async () => {
  const [owners, clock] = [new MemoryOwners(), new ManualClock()];
  const a = contender("a", { owners, clock });
  await a.lease.start();
  owners.down = true;
  await clock.advance(LEASE_MS - 1);
  expect(a.log).toEqual(["acquired"]);
  await clock.advance(1);
  expect(a.log).toEqual(["acquired", "lost: it was not renewed in time"]);
});

test("a holder whose event loop was blocked past the lease knows it before its timers fire", async () => {
  const [owners, clock] = [new MemoryOwners(), new ManualClock()];
  const a = contender("a", { owners, clock });
  await a.lease.start();
  clock.jump(LEASE_MS);
  expect(a.lease.held).toBe(false);
  expect(a.lease.check()).toBe(false);
  expect(a.log).toEqual(["acquired", "lost: it was not renewed in time"]);
});

test("a machine that slept, with a monotonic clock that stood still, gives the name up", async () => {
  const [owners, clock] = [new MemoryOwners(), new ManualClock()];
  const a = contender("a", { owners, clock });
  await a.lease.start();
  clock.wallOffset += 60_000;
  expect(a.lease.check()).toBe(false);
});

test("a renewal counts from before it was sent, not from its answer", async () => {
  const [owners, clock] = [new MemoryOwners(), new ManualClock()];
  const a = contender("a", { owners, clock });
  const cas = owners.cas.bind(owners);
  owners.cas = async (...args) => {
    const revision = await cas(...args);
    clock.jump(LEASE_MS);
    return revision;
  };
  await a.lease.start();
  expect(a.lease.held).toBe(false);
  expect(a.log).toEqual([]);
});

test("a holder whose name was taken by somebody else loses it at its next renewal", async () => {
  const [owners, clock] = [new MemoryOwners(), new ManualClock()];
  const a = contender("a", { owners, clock });
  await a.lease.start();
  owners.put("counter", encode({ v: 1, host: "z", run: "z-1", epoch: 9, leaseMs: LEASE_MS, released: false }));
  await clock.advance(LEASE_MS / 2);
  expect(a.log).toEqual(["acquired", "lost: another host took it"]);
});

describe("a lost reply", () => {
  test("to a renewal does not lose the name", async () => {
    const [owners, clock] = [new MemoryOwners(), new ManualClock()];
    const a = contender("a", { owners, clock });
    await a.lease.start();
    const epoch = a.lease.epoch;
    owners.loseNextReply = true;
    await clock.advance(5 * LEASE_MS);
    expect(owners.loseNextReply).toBe(false);
    expect(a.log).toEqual(["acquired"]);
    expect(a.lease.epoch).toBe(epoch);
  });

  test("to the first write fails the start and leaves nobody believing that the name is held", async () => {
    const [owners, clock] = [new MemoryOwners(), new ManualClock()];
    const a = contender("a", { owners, clock });
    owners.loseNextReply = true;
    await expect(a.lease.start()).rejects.toMatchObject({ code: "TIMEOUT" });
    expect(a.lease.held).toBe(false);
    expect(clock.armed).toBe(0);
  });

  test("to a takeover is settled by reading: the record is ours", async () => {
    const owners = new MemoryOwners();
    const clock = new ManualClock();
    owners.put("counter", encode({ v: 1, host: "z", run: "z-1", epoch: 9, leaseMs: LEASE_MS, released: false }));
    const a = contender("a", { owners, clock });
    await a.lease.start();
    owners.loseNextReply = true;
    await clock.advance(2 * LEASE_MS);
    expect(owners.loseNextReply).toBe(false);
    expect(a.log).toEqual(["acquired"]);
    expect(a.lease.held).toBe(true);
  });
});

test("a released name is taken at the next look", async () => {
  const [owners, clock] = [new MemoryOwners(), new ManualClock()];
  const [a, b] = [contender("a", { owners, clock }), contender("b", { owners, clock })];
  await a.lease.start();
  await b.lease.start();
  await a.lease.stop();
  expect(a.lease.held).toBe(false);
  await clock.advance(LEASE_MS / 4);
  expect(b.lease.held).toBe(true);
});

test("a stop that cannot reach the bucket ends all the same", async () => {
  const [owners, clock] = [new MemoryOwners(), new ManualClock()];
  const a = contender("a", { owners, clock });
  await a.lease.start();
  owners.cas = () => new Promise(() => undefined);
  const stopped = a.lease.stop();
  await clock.advance(2_000);
  await stopped;
  expect(clock.armed).toBe(0);
});

test("a stop during the first try gives the name back", async () => {
  const [owners, clock] = [new MemoryOwners(), new ManualClock()];
  const [a, b] = [contender("a", { owners, clock }), contender("b", { owners, clock })];
  const starting = a.lease.start();
  await a.lease.stop();
  await starting;
  expect(a.log).toEqual([]);
  await b.lease.start();
  expect(b.lease.held).toBe(true);
});

test("a host that starts again takes back at once what its dead predecessor held", async () => {
  const owners = new MemoryOwners();
  await contender("a", { owners, clock: new ManualClock(), run: "a-1" }).lease.start();
  const again = contender("a", { owners, clock: new ManualClock(), run: "a-2" });
  await again.lease.start();
  expect(again.lease.held).toBe(true);
});

test("two hosts that share an id by mistake do not take the name from each other for ever", async () => {
  const [owners, clock] = [new MemoryOwners(), new ManualClock()];
  const first = contender("a", { owners, clock, run: "a-1" });
  await first.lease.start();
  const second = contender("a", { owners, clock, run: "a-2" });
  await second.lease.start();
  await clock.advance(20 * LEASE_MS);
  expect(first.log).toEqual(["acquired", "lost: another host took it"]);
  expect(second.log).toEqual(["acquired"]);
});

test("rubbish that is written over the record of a holder whose lease runs is overwritten, and nobody gets the name meanwhile", async () => {
  const [owners, clock] = [new MemoryOwners(), new ManualClock()];
  const [a, b] = [contender("a", { owners, clock }), contender("b", { owners, clock })];
  await a.lease.start();
  await b.lease.start();
  const epoch = a.lease.epoch;
  const rubbish = owners.put("counter", new TextEncoder().encode('{"type":"stream_info_response"}'));
  await clock.advance(LEASE_MS / 2);
  expect((await owners.getEntry("counter"))?.revision).toBeGreaterThan(rubbish);
  await clock.advance(5 * LEASE_MS);
  expect([a.log, b.log]).toEqual([["acquired"], []]);
  expect([a.lease.held, a.lease.epoch, b.lease.held]).toEqual([true, epoch, false]);
});

test("a record that nobody can read, and one that was deleted, do not block the name", async () => {
  const [owners, clock] = [new MemoryOwners(), new ManualClock()];
  owners.put("counter", new Uint8Array([0xc1, 0xff]));
  const a = contender("a", { owners, clock });
  await a.lease.start();
  expect(a.lease.held).toBe(false);
  await clock.advance(2 * LEASE_MS);
  expect(a.lease.held).toBe(true);
  await a.lease.stop();
  owners.delete("counter");
  const b = contender("b", { owners, clock });
  await b.lease.start();
  expect(b.lease.held).toBe(true);
});

test("of many that see a name fall free at once, one gets it", async () => {
  const [owners, clock] = [new MemoryOwners(), new ManualClock()];
  const all = ["a", "b", "c", "d", "e"].map((host) => contender(host, { owners, clock }));
  await Promise.all(all.map(({ lease }) => lease.start()));
  expect(all.filter(({ lease }) => lease.held)).toHaveLength(1);
  for (let round = 0; round < 4; round++) {
    await all.find(({ lease }) => lease.held)?.lease.stop();
    await clock.advance(LEASE_MS);
    expect(all.filter(({ lease }) => lease.held)).toHaveLength(1);
  }
  await turns();
});
