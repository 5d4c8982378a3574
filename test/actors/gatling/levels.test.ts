import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Levels, RANK, STALE_MS } from "../../../src/actors/gatling/levels.ts";

const { high, normal, low } = RANK;

/** A broker with these messages waiting, and a lane of `slots` that ends everything it took after each round. */
class Play {
  readonly levels = new Levels();
  readonly waiting: number[];
  readonly outstanding = [0, 0, 0];
  readonly taken: number[] = [];
  now = 0;
  /** Most that ever came within one round. */
  most = 0;

  constructor(waiting: readonly number[]) {
    this.waiting = [...waiting];
  }

  /** One round with `credit` free slots. Returns what came, by rank. */
  round(credit: number): readonly number[] {
    const came = [0, 0, 0];
    const shares = this.levels.share(credit, this.outstanding, this.now++);
    for (const [rank, { want, restart }] of (shares ?? []).entries())
      if (restart || want > (this.outstanding[rank] as number)) this.outstanding[rank] = want;
    for (const rank of [high, normal, low]) {
      while ((this.outstanding[rank] as number) > 0 && (this.waiting[rank] as number) > 0) {
        this.outstanding[rank] = (this.outstanding[rank] as number) - 1;
        this.waiting[rank] = (this.waiting[rank] as number) - 1;
        this.levels.delivered(rank, this.waiting[rank] as number, this.now);
        came[rank] = (came[rank] as number) + 1;
        this.taken.push(rank);
      }
    }
    this.most = Math.max(
      this.most,
      came.reduce((sum, each) => sum + each, 0),
    );
    return came;
  }
}

describe("Levels", () => {
  it("asks for all of the credit where only normal is used, and keeps one probe of each other priority", () => {
    const play = new Play([0, 1_000, 0]);
    expect(play.round(64)).toEqual([0, 64, 0]);
    expect(play.outstanding).toEqual([1, 0, 1]);
    expect(play.levels.share(64, [1, 32, 1], 0)).toBeUndefined();
    expect(play.levels.share(0, [0, 0, 0], 0)).toBeUndefined();
  });

  it("shares by weights, also one slot at a time, and starves nobody", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), (credit) => {
        const play = new Play([1_000_000, 1_000_000, 1_000_000]);
        play.round(credit);
        const sum = [0, 0, 0];
        const rounds = Math.ceil((21 * 20) / credit);
        for (let i = 0; i < rounds; i++)
          for (const [rank, n] of play.round(credit).entries()) sum[rank] = (sum[rank] as number) + n;
        const all = rounds * credit;
        for (const [rank, weight] of [16, 4, 1].entries())
          expect(Math.abs((sum[rank] as number) - (all * weight) / 21)).toBeLessThanOrEqual(2);
      }),
    );
  });

  it("takes everything, never more at once than the credit and the two probes", () => {
    fc.assert(
      fc.property(
        fc.record({
          high: fc.integer({ min: 0, max: 50 }),
          normal: fc.integer({ min: 0, max: 50 }),
          low: fc.integer({ min: 0, max: 50 }),
        }),
        fc.integer({ min: 1, max: 30 }),
        (waiting, credit) => {
          const play = new Play([waiting.high, waiting.normal, waiting.low]);
          const all = waiting.high + waiting.normal + waiting.low;
          for (let round = 0; play.taken.length < all; round++) {
            expect(round).toBeLessThan(3 * all + 10);
            play.round(credit);
          }
          // What is outstanding from before a backlog was known comes on top once.
          expect(play.most).toBeLessThanOrEqual(2 * credit + 2);
        },
      ),
    );
  });

  it("gives the slots of a backlog that others took to the rest", () => {
    const play = new Play([1_000, 1_000, 0]);
    play.round(8);
    play.round(8);
    play.waiting[high] = 0;
    play.round(8);
    expect(play.levels.mixed).toBe(true);
    play.now += STALE_MS;
    expect(play.round(8)).toEqual([0, 8, 0]);
    expect(play.outstanding[high]).toBe(1);
    expect(play.levels.mixed).toBe(false);
  });

  it("gives up what normal has outstanding while another priority waits", () => {
    const play = new Play([0, 0, 0]);
    play.round(64);
    expect(play.outstanding).toEqual([1, 64, 1]);
    play.waiting[high] = 1_000;
    play.round(64);
    expect(play.round(63)[high]).toBeGreaterThanOrEqual(62);
    expect(play.outstanding[normal]).toBeLessThanOrEqual(1);
  });
});
