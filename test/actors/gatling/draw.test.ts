import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { draw, type Seats } from "../../../src/actors/gatling/draw.ts";
import { FreePlaces } from "../../../src/actors/gatling/places.ts";

/** Seats with the given free slots, on the real bit set. */
class Bench implements Seats {
  readonly size: number;
  readonly free: number[];
  readonly #places: FreePlaces;

  constructor(free: readonly number[]) {
    this.size = free.length;
    this.free = [...free];
    this.#places = new FreePlaces(free.length);
    for (const [place, slots] of free.entries()) if (slots > 0) this.#places.add(place);
  }

  next(from: number): number {
    return this.#places.next(from);
  }

  take(place: number): void {
    const left = (this.free[place] as number) - 1;
    this.free[place] = left;
    if (left === 0) this.#places.remove(place);
  }
}

/** The rotation as the contract words it: ticket by ticket, skipping full agents. */
function naive(index: number, base: number, free: readonly number[], count: number) {
  const left = [...free];
  const placed: { place: number; ticket: number }[] = [];
  let ticket = index;
  let drawn = 0;
  while (placed.length < count && left.some((slots) => slots > 0)) {
    const place = (ticket - base) % left.length;
    if ((left[place] as number) > 0) {
      left[place] = (left[place] as number) - 1;
      placed.push({ place, ticket });
      drawn = ticket - index + 1;
    }
    ticket++;
  }
  return { placed, drawn };
}

const rosters = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 80 });

describe("draw", () => {
  it("P4: places every ticket where the rotation written ticket by ticket does, and draws as many", () => {
    fc.assert(
      fc.property(rosters, fc.nat(1_000), fc.nat(1_000), fc.nat(120), (free, base, ahead, count) => {
        const drawn = draw(base + ahead, base, new Bench(free), count);
        const expected = naive(base + ahead, base, free, count);
        expect(drawn.places.map((place, i) => ({ place, ticket: drawn.tickets[i] }))).toEqual(expected.placed);
        expect(drawn.drawn).toBe(expected.drawn);
      }),
    );
  });

  it("P4: leaves turns at most one apart over any split into batches while nobody is full", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 70 }),
        fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 20 }),
        (size, batches) => {
          const turns = new Array<number>(size).fill(0);
          let index = 17;
          for (const batch of batches) {
            const drawn = draw(index, 17, new Bench(new Array<number>(size).fill(1_000)), batch);
            for (const place of drawn.places) turns[place] = (turns[place] as number) + 1;
            index += drawn.drawn;
          }
          expect(Math.max(...turns) - Math.min(...turns)).toBeLessThanOrEqual(1);
        },
      ),
    );
  });

  it("P5: never takes more slots than a place has", () => {
    fc.assert(
      fc.property(rosters, fc.nat(500), (free, count) => {
        const bench = new Bench(free);
        const drawn = draw(0, 0, bench, count);
        expect(bench.free.every((slots) => slots >= 0)).toBe(true);
        expect(drawn.places.length).toBe(
          Math.min(
            count,
            free.reduce((sum, slots) => sum + slots, 0),
          ),
        );
      }),
    );
  });

  it("draws nothing from an empty or a full roster", () => {
    expect(draw(5, 0, new Bench([]), 10)).toEqual({ base: 0, places: [], tickets: [], drawn: 0 });
    expect(draw(5, 0, new Bench([0, 0, 0]), 10)).toEqual({ base: 0, places: [], tickets: [], drawn: 0 });
  });

  it("draws no ticket behind the last one that carries a task", () => {
    expect(draw(0, 0, new Bench([1, 0, 0, 1, 0]), 2)).toEqual({ base: 0, places: [0, 3], tickets: [0, 3], drawn: 4 });
  });
});

describe("FreePlaces", () => {
  it("finds the next free place like a linear search, for any size and order of changes", () => {
    const change = fc.record({ place: fc.nat(), free: fc.boolean() });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3_000 }),
        fc.array(change, { maxLength: 200 }),
        fc.nat(),
        (size, changes, from) => {
          const places = new FreePlaces(size);
          const model = new Set<number>();
          for (const { place, free } of changes) {
            const at = place % size;
            if (free) {
              places.add(at);
              model.add(at);
            } else {
              places.remove(at);
              model.delete(at);
            }
          }
          const start = from % size;
          const sorted = [...model].sort((a, b) => a - b);
          expect(places.next(start)).toBe(sorted.find((place) => place >= start) ?? sorted[0] ?? -1);
        },
      ),
    );
  });

  it("finds the only free one of 40 000 places from anywhere", () => {
    const places = new FreePlaces(40_000);
    places.add(31_999);
    for (const from of [0, 1, 31, 32, 31_999, 32_000, 39_999]) expect(places.next(from)).toBe(31_999);
    places.remove(31_999);
    expect(places.next(0)).toBe(-1);
  });
});

describe("skipping agents that are full", () => {
  afterEach(() => void vi.unstubAllGlobals());

  it("takes a few steps a task, whatever the size of the roster and however many are full", () => {
    const words = countWords();
    const roster = fc.record({
      size: fc.integer({ min: 1, max: 40_000 }),
      free: fc.array(fc.nat(), { minLength: 1, maxLength: 5 }),
      index: fc.nat(100_000),
      count: fc.integer({ min: 1, max: 8 }),
    });
    fc.assert(
      fc.property(roster, ({ size, free, index, count }) => {
        const slots = new Array<number>(size).fill(0);
        for (const place of free) slots[place % size] = count;
        const bench = new Bench(slots);
        const before = words.touched;
        expect(draw(index, 0, bench, count).places).toHaveLength(count);
        // Up and down the levels, twice where the search goes round, and up once more for a place that became full.
        expect(words.touched - before).toBeLessThanOrEqual(count * 6 * levelsOf(size));
      }),
    );
    expect(levelsOf(40_000)).toBe(4);
  });
});

/** Levels of words of 32 bits over `size` places. */
function levelsOf(size: number): number {
  return size <= 32 ? 1 : 1 + levelsOf(Math.ceil(size / 32));
}

/** Counts every word of every typed array made from now on that is read or written. */
function countWords(): { readonly touched: number } {
  const count = { touched: 0 };
  const touch = (key: string | symbol): void => {
    if (typeof key === "string" && /^\d+$/.test(key)) count.touched++;
  };
  const handler: ProxyHandler<Int32Array> = {
    get: (target, key) => {
      touch(key);
      return Reflect.get(target, key);
    },
    set: (target, key, value) => {
      touch(key);
      return Reflect.set(target, key, value);
    },
  };
  const counted = new Proxy(Int32Array, {
    construct: (made, [length]: [number]) => new Proxy(new made(length), handler),
  });
  vi.stubGlobal("Int32Array", counted);
  return count;
}
