import { rm, writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { RestartBudget } from "../../../src/bus/nats-server/restart-budget.ts";
import { Revival } from "../../../src/bus/nats-server/revival.ts";
import { VgasError } from "../../../src/protocols/errors.ts";
import { temporaryHome } from "../../support/home.ts";
import { ManualClock, turns } from "../../support/manual-clock.ts";
import { RecordingLogger } from "../../support/recording-logger.ts";

/** `launch` fails with what is the first of `failures`, as long as there are any. */
async function reviving(failures: VgasError[]) {
  const { layout } = await temporaryHome();
  const clock = new ManualClock();
  const logger = new RecordingLogger();
  const givenUp: VgasError[] = [];
  const launchedAt: number[] = [];
  const revival = new Revival({
    ...{ layout, clock, logger },
    budget: new RestartBudget(3, 60_000),
    launch: () => {
      launchedAt.push(clock.monotonic());
      const failure = failures.shift();
      return failure === undefined ? Promise.resolve() : Promise.reject(failure);
    },
    giveUp: (error) => givenUp.push(error),
  });
  return { revival, clock, logger, givenUp, launchedAt, store: layout.nats.store };
}

/** Until the promise has settled. Time passes while it waits for the clock, and stands still while it waits for the disk. */
async function settled<T>(clock: ManualClock, promise: Promise<T>): Promise<T> {
  let over = false;
  const done = promise.finally(() => {
    over = true;
  });
  while (!over) await (clock.armed > 0 ? clock.advance(100) : turns());
  return await done;
}

const taken = (): VgasError => new VgasError("CONFIG", "port 4222 is in use");
const crashed = (): VgasError => new VgasError("BROKER_FAILED", "the nats-server ended (signal SIGSEGV)");

test("a port that somebody took meanwhile is waited for, and costs no restart", async () => {
  const failures = Array.from({ length: 20 }, taken);
  const { revival, clock, givenUp, logger } = await reviving(failures);
  const running = revival.run("signal SIGKILL", undefined);
  await expect(settled(clock, running)).resolves.toBe(true);
  expect(clock.monotonic()).toBeGreaterThanOrEqual(20_000);
  expect(givenUp).toEqual([]);
  expect(revival).toMatchObject({ count: 1, trouble: undefined });
  expect(logger.lines).toHaveLength(1);
});

test("a port that stays taken is given up after a minute, with the reason", async () => {
  const failures = Array.from({ length: 1_000 }, taken);
  const { revival, clock, givenUp } = await reviving(failures);
  const running = revival.run("signal SIGKILL", undefined);
  await expect(settled(clock, running)).resolves.toBe(false);
  expect(givenUp).toMatchObject([{ code: "BROKER_FAILED", message: expect.stringMatching(/for 60 s.*port 4222/) }]);
  expect(revival.trouble).toContain("port 4222 is in use");
});

test("what is its own fault is tried as often as the budget says, each time later", async () => {
  const { revival, clock, givenUp, launchedAt } = await reviving(Array.from({ length: 9 }, crashed));
  await expect(settled(clock, revival.run("signal SIGSEGV", undefined))).resolves.toBe(false);
  expect(launchedAt).toHaveLength(3);
  const [first = 0, second = 0, third = 0] = launchedAt;
  expect(second - first).toBeGreaterThan(0);
  expect(third - second).toBeGreaterThan(second - first);
  expect(givenUp).toMatchObject([{ message: expect.stringMatching(/more than 3 times within 60 s.*SIGSEGV/) }]);
});

test("a broker that was ended to be started again uses no restart up", async () => {
  const { revival, clock, givenUp } = await reviving([]);
  for (let round = 0; round < 10; round++)
    await expect(settled(clock, revival.run("signal SIGTERM", "its disk was full"))).resolves.toBe(true);
  expect(givenUp).toEqual([]);
  expect(revival.count).toBe(10);
});

test("nothing is launched after a stop", async () => {
  const { revival, clock, launchedAt } = await reviving([taken(), taken()]);
  const running = revival.run("signal SIGKILL", undefined);
  while (launchedAt.length === 0) await clock.advance(10);
  while (clock.armed === 0) await turns();
  revival.stop();
  // It need not wait for the next try.
  await expect(running).resolves.toBe(false);
  expect(launchedAt).toHaveLength(1);
});

test("nothing is launched on a store that cannot be written, for as long as that lasts, and then it is", async () => {
  const { revival, clock, logger, givenUp, launchedAt, store } = await reviving([]);
  await rm(store, { recursive: true, force: true });
  // Root may write to every directory; nobody can write to what is none.
  await writeFile(store, "");
  const running = revival.run("signal SIGKILL", undefined);
  for (let minute = 0; minute < 5; ) {
    if (clock.armed > 0) await clock.advance(minute++ * 60_000);
    else await turns();
  }
  expect(revival.trouble).toMatch(/does not run, and cannot be started again: .*store/);
  expect([launchedAt, givenUp]).toEqual([[], []]);
  expect(logger.lines).toHaveLength(1);
  await rm(store);
  await expect(settled(clock, running)).resolves.toBe(true);
  expect(revival.trouble).toBeUndefined();
});
