import { expect, test } from "vitest";
import type { Bus, BusStatus } from "../../src/bus/bus.ts";
import { watchCredential } from "../../src/host/following.ts";
import { VgasError } from "../../src/protocols/errors.ts";
import { silentLogger } from "../../src/protocols/logger.ts";
import { ManualClock } from "../support/manual-clock.ts";

const REFUSED: BusStatus = { type: "error", error: new VgasError("PERMISSION_DENIED", "no") };
const BROKEN: BusStatus = { type: "error", error: new Error("connection refused") };

/** The code with which the node ended, after these statuses, each `everyMs` after the one before. */
async function endedBy(statuses: readonly BusStatus[], everyMs: number): Promise<string | undefined> {
  const clock = new ManualClock();
  let tell: (status: BusStatus) => void = () => undefined;
  const bus = { user: "n1", onStatus: (listener: typeof tell) => (tell = listener) } as unknown as Bus;
  let ended: VgasError | undefined;
  watchCredential({ bus, clock, logger: silentLogger, fail: (error) => (ended = error) });
  for (const status of statuses) {
    tell(status);
    await clock.advance(everyMs);
  }
  return ended?.code;
}

function times<T>(count: number, ...items: readonly T[]): readonly T[] {
  return Array.from({ length: count }, () => items).flat();
}

test("a node whose credential is refused again and again for ten seconds was revoked", async () => {
  expect(await endedBy(times(21, REFUSED), 500)).toBe("NODE_REVOKED");
  expect(await endedBy(times(20, REFUSED), 500)).toBeUndefined();
});

test("it is revoked too if a dead address takes its time between two refusals", async () => {
  expect(await endedBy(times(5, REFUSED), 3_020)).toBe("NODE_REVOKED");
});

test("refusals before and after a time in which something else kept it out, or in which it was let in, are not counted together", async () => {
  const out = times(61, BROKEN);
  expect(await endedBy([...times(15, REFUSED), ...out, ...times(15, REFUSED)], 500)).toBeUndefined();
  const back: BusStatus = { type: "reconnected", serverId: "s", restarted: false };
  expect(await endedBy([...times(15, REFUSED), back, ...times(15, REFUSED)], 500)).toBeUndefined();
  expect(await endedBy(times(40, BROKEN), 500)).toBeUndefined();
  // A server that reads its users again, a minute of nothing, and once more.
  expect(await endedBy([REFUSED, ...out, REFUSED], 500)).toBeUndefined();
});
