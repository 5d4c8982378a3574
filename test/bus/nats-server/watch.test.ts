import { expect, test } from "vitest";
import { BrokerWatch, type Look, WATCH_TIMING } from "../../../src/bus/nats-server/watch.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { RecordingLogger } from "../../support/recording-logger.ts";

const ROOM = 2 ** 30;

function watched() {
  const clock = new ManualClock();
  const logger = new RecordingLogger();
  const renewed: string[] = [];
  let tried: () => void = () => undefined;
  const found = {
    look: "well" as Look,
    complaint: undefined as string | undefined,
    freeBytes: ROOM,
    trouble: undefined as string | undefined,
    /** How long a look takes. */
    lookMs: 0,
  };
  const watch = new BrokerWatch({
    senses: {
      look: async () => {
        const { look, lookMs } = found;
        if (lookMs > 0) await new Promise<void>((resolve) => clock.setTimeout(resolve, lookMs));
        return look;
      },
      complaint: () => {
        const { complaint } = found;
        found.complaint = undefined;
        return Promise.resolve(complaint);
      },
      room: async ({ write }) => {
        if (write) tried();
        return { freeBytes: found.freeBytes, trouble: write ? found.trouble : undefined };
      },
    },
    clock,
    logger,
    timing: WATCH_TIMING,
    renew: (why) => renewed.push(why),
  });
  const onTry = (does: () => void): void => {
    tried = does;
  };
  return { clock, logger, found, watch, renewed, onTry };
}

test("a broker that works is left alone", async () => {
  const { clock, watch, renewed, logger } = watched();
  await clock.advance(120_000);
  expect(renewed).toEqual([]);
  expect(watch.trouble).toBeUndefined();
  expect(logger.lines).toEqual([]);
});

test("one that is silent for 15 s is ended, once, and says why before", async () => {
  const { clock, found, watch, renewed, logger } = watched();
  found.look = "silent";
  found.lookMs = 5_000;
  await clock.advance(14_000);
  expect(renewed).toEqual([]);
  expect(watch.trouble).toMatch(/^the nats-server has not answered for \d+ s$/);
  await clock.advance(20_000);
  expect(renewed).toEqual([expect.stringMatching(/^it has not answered for \d+ s$/)]);
  expect(logger.lines).toHaveLength(1);
});

test("one that answers in between is not hung", async () => {
  const { clock, found, watch, renewed, logger } = watched();
  for (let round = 0; round < 5; round++) {
    found.look = "silent";
    await clock.advance(12_000);
    found.look = "well";
    await clock.advance(4_000);
  }
  expect(renewed).toEqual([]);
  expect(watch.trouble).toBeUndefined();
  // Each silence, and its end.
  expect(logger.lines).toHaveLength(10);
  expect(JSON.stringify(logger.lines.at(-1))).toContain("answers again");
});

test("silence while this process stood still counts for nothing", async () => {
  const { clock, found, renewed } = watched();
  found.look = "silent";
  for (let round = 0; round < 6; round++) {
    // Between two looks, and then during the one that is due.
    await clock.advance(6_000);
    clock.jump(30_000);
    found.lookMs = 1_000;
    await clock.advance(500);
    clock.jump(30_000);
    await clock.advance(500);
    found.lookMs = 0;
  }
  expect(renewed).toEqual([]);
});

test("one that could not write is ended when its store can be written again, and not before", async () => {
  const { clock, found, watch, renewed, logger } = watched();
  found.complaint = "stream 'X' critical write error: no space left on device";
  found.trouble = "the disk is full: free some space";
  await clock.advance(60_000);
  expect(renewed).toEqual([]);
  expect(watch.trouble).toMatch(/critical write error: no space left on device; the disk is full/);
  found.trouble = undefined;
  await clock.advance(3_000);
  expect(renewed).toEqual(["stream 'X' critical write error: no space left on device"]);
  expect(logger.lines).toHaveLength(1);
});

test("one whose JetStream does not answer for a moment, as while it reads its users again, is left alone", async () => {
  const { clock, found, renewed, watch } = watched();
  for (let reload = 0; reload < 5; reload++) {
    found.look = "off";
    await clock.advance(4_000);
    found.look = "well";
    await clock.advance(2_000);
  }
  expect(renewed).toEqual([]);
  expect(watch.trouble).toBeUndefined();
});

test("one whose JetStream is off is ended", async () => {
  const { clock, found, renewed } = watched();
  found.look = "off";
  await clock.advance(7_000);
  expect(renewed).toEqual(["its JetStream is off"]);
});

test("one whose disk was full is ended when there is room, for its log may be silent", async () => {
  const { clock, found, watch, renewed } = watched();
  found.freeBytes = 0;
  found.trouble = "no room";
  await clock.advance(10_000);
  expect(watch).toMatchObject({ freeBytes: 0, trouble: expect.stringContaining("its disk was full; no room") });
  Object.assign(found, { freeBytes: ROOM, trouble: undefined });
  await clock.advance(2_000);
  expect(renewed).toEqual(["its disk was full"]);
});

test("it ends nothing after it was stopped", async () => {
  const { clock, found, watch, renewed } = watched();
  found.look = "off";
  watch.stop();
  await clock.advance(10_000);
  expect(renewed).toEqual([]);
  expect(clock.armed).toBe(0);
});

test("nor where it was stopped during a look, nor while its store was tried", async () => {
  const looking = watched();
  Object.assign(looking.found, { complaint: "critical write error", lookMs: 1_000 });
  await looking.clock.advance(2_500);
  looking.watch.stop();
  await looking.clock.advance(10_000);
  expect(looking.renewed).toEqual([]);
  expect(looking.clock.armed).toBe(0);
  const hanging = watched();
  Object.assign(hanging.found, { look: "silent", lookMs: 5_000 });
  // The look that would find that it hangs is under way.
  await hanging.clock.advance(18_000);
  hanging.watch.stop();
  await hanging.clock.advance(10_000);
  expect(hanging.renewed).toEqual([]);
  const trying = watched();
  trying.found.complaint = "critical write error";
  trying.onTry(() => trying.watch.stop());
  await trying.clock.advance(10_000);
  expect(trying.renewed).toEqual([]);
  expect(trying.watch.trouble).toBeUndefined();
});
