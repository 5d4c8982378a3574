import { expect, test } from "vitest";
import { RefusalLog } from "../../src/admission/refusal-log.ts";
import { VgasError } from "../../src/protocols/errors.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { RecordingLogger } from "../support/recording-logger.ts";

const REFUSED = new VgasError("PROOF_REFUSED", "no");

function said({ lines }: RecordingLogger, address: string): readonly object[] {
  return lines.map(({ fields }) => fields).filter((fields) => "address" in fields && fields.address === address);
}

test("who knocks all the time has few lines, is counted, and hides nobody", async () => {
  const [clock, logger] = [new ManualClock(), new RecordingLogger()];
  const log = new RefusalLog(clock, logger);
  for (let i = 0; i < 10_000; i++) log.note({ address: "flood" }, REFUSED);
  // From many addresses too.
  for (let i = 0; i < 1_000; i++) log.note({ address: `flood ${i % 150}` }, REFUSED);
  for (let i = 0; i < 3; i++) log.note({ address: "honest" }, REFUSED);
  expect(said(logger, "honest").length).toBeGreaterThanOrEqual(1);
  expect(said(logger, "flood").length).toBeLessThanOrEqual(20);
  for (let i = 0; i < 10_000; i++) log.note({ address: `flood ${i}` }, REFUSED);
  expect(logger.lines.length).toBeLessThanOrEqual(240);
  const lines = said(logger, "flood").length;
  await clock.advance(60_000);
  expect(said(logger, "flood").at(-1)).toEqual({ address: "flood", refusals: 10_000 - lines });
  const untold = logger.lines.flatMap(({ fields }) => ("refusals" in fields ? [Number(fields.refusals)] : []));
  const told = logger.lines.length - untold.length;
  expect(told + untold.reduce((sum, each) => sum + each, 0)).toBe(21_003);
  log.note({ address: "flood" }, REFUSED);
  expect(said(logger, "flood").at(-1)).toEqual({ address: "flood", code: "PROOF_REFUSED" });
  log.stop();
  expect(clock.armed).toBe(0);
});
