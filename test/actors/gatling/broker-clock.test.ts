import { expect, test } from "vitest";
import { BrokerClock } from "../../../src/actors/gatling/broker-clock.ts";
import { systemClock } from "../../../src/protocols/clock.ts";
import { HEADERS } from "../../../src/protocols/subjects.ts";
import { watchBrokerClocks } from "../../support/broker-clock.ts";
import { Dealing } from "../../support/dealing.ts";
import { useNats } from "../../support/nats.ts";

const nats = useNats();
const HOUR_MS = 3_600_000;

test("is the wall clock until the broker has told its time, and then runs on by the monotonic one", () => {
  const times = { now: 5_000, monotonic: 100 };
  const clock = new BrokerClock({ ...systemClock, now: () => times.now, monotonic: () => times.monotonic });
  expect(clock.now()).toBe(5_000);
  clock.learn(9_000, 80);
  expect(clock.now()).toBe(9_010);
  times.now += HOUR_MS;
  times.monotonic += 50;
  expect(clock.now()).toBe(9_060);
  // Whole milliseconds: others read them.
  clock.learn(9_061, 149);
  expect(clock.now()).toBe(9_062);
  clock.learn(9_060, 150);
  // An answer that was long on its way tells too little.
  times.monotonic += 1_000;
  clock.learn(20_000, 150);
  expect(clock.now()).toBe(10_060);
  times.monotonic += 40_000;
  clock.learn(60_000, times.monotonic - 1_000);
  expect(clock.now()).toBe(60_500);
});

test.each([
  ["ahead", HOUR_MS],
  ["behind", -HOUR_MS],
])("a dispatcher whose clock is an hour %s lets tasks begin and expire at their time", async (_, byMs) => {
  const wrongByMs = watchBrokerClocks();
  const swarm = await Dealing.start(nats);
  await swarm.host("h", { kind: "look", run: () => Date.now() });
  await swarm.dispatcher("d1", { ...systemClock, now: () => Date.now() + byMs });
  const notBefore = Date.now() + 600;
  await swarm.submit("look", { id: "later", notBefore });
  await swarm.submit("look", { id: "fresh", expiresMs: 60_000 });
  expect(await swarm.result("fresh")).toMatchObject({ status: "ok" });
  const { status, output } = await swarm.result("later");
  expect(status).toBe("ok");
  // The broker's clock is this machine's; what it told was a moment on its way.
  expect(output).toBeGreaterThanOrEqual(notBefore - wrongByMs());
  // As an element that was published again: expired long ago, and not yet by a clock that is an hour behind.
  const submittedAt = String(Date.now() - HOUR_MS / 2);
  const headers = { [HEADERS.taskId]: "old", [HEADERS.submittedAt]: submittedAt, [HEADERS.attempts]: "0" };
  await swarm.submit("nobody", { expiresMs: 60_000 }, { headers });
  await swarm.host("h2", { kind: "nobody", run: () => 1 });
  expect(await swarm.result("old")).toMatchObject({ status: "expired" });
});
