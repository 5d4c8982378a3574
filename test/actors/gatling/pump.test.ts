import { describe, expect, it } from "vitest";
import { Pump, type PumpOptions } from "../../../src/actors/gatling/pump.ts";
import { ManualClock } from "../../support/manual-clock.ts";

/** Lets promises settle that wait for nothing else. */
async function settled(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
}

interface Rig {
  readonly clock: ManualClock;
  readonly pump: Pump;
  /** Ends of the rounds that are under way. */
  readonly open: (() => void)[];
  readonly failures: string[];
  rounds: number;
  most: number;
  rests: number;
}

function rigged(options: Partial<PumpOptions> = {}): Rig {
  const clock = new ManualClock();
  const rig: Rig = {
    clock,
    open: [],
    failures: [],
    rounds: 0,
    most: 0,
    rests: 0,
    pump: new Pump({
      clock,
      wanted: () => true,
      round: () => {
        rig.rounds++;
        return new Promise<void>((resolve) => {
          rig.open.push(resolve);
          rig.most = Math.max(rig.most, rig.open.length);
        });
      },
      onFailure: (why) => rig.failures.push(why),
      onRest: () => rig.rests++,
      ...options,
    }),
  };
  return rig;
}

function endRound({ open }: Rig): Promise<void> {
  open.shift()?.();
  return settled();
}

describe("the pump of a lane", () => {
  it("makes one round of all that wakes it in one turn", async () => {
    const rig = rigged();
    for (let i = 0; i < 3; i++) rig.pump.wake();
    expect(rig.rounds).toBe(0);
    await settled();
    // What wakes it before the round begins is seen by that round.
    expect(rig.rounds).toBe(1);
    await endRound(rig);
    expect(rig).toMatchObject({ rounds: 1, rests: 1 });
    expect(rig.pump.running).toBe(false);
  });

  it("makes another round of what wakes it during one, and never two at once", async () => {
    const rig = rigged();
    rig.pump.wake();
    await settled();
    for (let i = 0; i < 3; i++) rig.pump.wake();
    await settled();
    expect(rig.rounds).toBe(1);
    await endRound(rig);
    expect(rig).toMatchObject({ rounds: 2, rests: 0 });
    await endRound(rig);
    expect(rig).toMatchObject({ rounds: 2, most: 1, rests: 1 });
  });

  it("makes no round where there is nothing to do", async () => {
    const rig = rigged({ wanted: () => false });
    rig.pump.wake();
    await settled();
    expect(rig).toMatchObject({ rounds: 0, rests: 1 });
  });

  it("makes a round that failed again after a pause, and tells a reason once", async () => {
    let left = 3;
    const rig = rigged({
      round: async () => {
        if (left-- > 0) throw new Error(left === 0 ? "two" : "one");
      },
    });
    rig.pump.wake();
    await settled();
    expect(rig.rests).toBe(0);
    for (let i = 0; i < 3; i++) await rig.clock.advance(500);
    expect(rig.failures).toEqual(["Error: one", "Error: two"]);
    expect(rig.rests).toBe(1);
  });
});
