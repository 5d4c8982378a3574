import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KeyChooser } from "../../../../src/actors/vault/accounting/chooser.ts";

const [A, B, C] = ["a", "b", "c"].map((key) => ({ provider: "openai", key })) as [Key, Key, Key];
type Key = { provider: string; key: string };
const NOW = 1_000_000;

function turns(chooser: KeyChooser, candidates: readonly Key[], count: number, now = NOW): string {
  return Array.from({ length: count }, () => {
    const chosen = chooser.choose(candidates, now);
    return "restingUntil" in chosen ? "-" : chosen.key;
  }).join("");
}

describe("KeyChooser", () => {
  it("lets keys take turns strictly, and other candidates too", () => {
    const chooser = new KeyChooser();
    expect(turns(chooser, [A, B, C], 7)).toBe("abcabca");
    expect(turns(chooser, [A, B], 3)).toBe("bab");
    expect(turns(chooser, [A, B, C], 3)).toBe("cab");
  });

  it("rotates each provider by itself", () => {
    const chooser = new KeyChooser();
    const other = [
      { provider: "other", key: "a" },
      { provider: "other", key: "b" },
    ];
    expect(turns(chooser, [A, B], 1) + turns(chooser, other, 2) + turns(chooser, [A, B], 1)).toBe("aabb");
  });

  it("gives every key the same share, whatever the candidates of the others are", () => {
    fc.assert(
      fc.property(fc.array(fc.subarray([A, B, C], { minLength: 2 }), { maxLength: 60 }), (asked) => {
        const chooser = new KeyChooser();
        const last = new Map<Key, number>();
        for (const [i, candidates] of asked.entries()) {
          const chosen = chooser.choose(candidates, NOW) as Key;
          for (const other of candidates) expect(last.get(chosen) ?? -1).toBeLessThanOrEqual(last.get(other) ?? -1);
          last.set(chosen, i);
        }
      }),
    );
  });

  it("rests a key for its Retry-After and no longer, and says until when if all rest", () => {
    const chooser = new KeyChooser();
    chooser.answered(A, 429, 30_000, NOW);
    chooser.answered(B, 503, 10_000, NOW);
    expect(chooser.resting(A, NOW)).toEqual({ until: NOW + 30_000, status: 429 });
    expect(chooser.resting(B, NOW)).toEqual({ until: NOW + 10_000, status: 503 });
    expect(turns(chooser, [A, B, C], 2)).toBe("cc");
    expect(chooser.choose([A, B], NOW)).toEqual({ restingUntil: NOW + 10_000 });
    expect(turns(chooser, [A, B], 2, NOW + 10_000)).toBe("bb");
    expect(chooser.resting(A, NOW + 30_000)).toBeUndefined();
    expect(turns(chooser, [A, B], 1, NOW + 30_000)).toBe("a");
  });

  it("rests for 5 s without Retry-After, twice as long each time it repeats, up to 5 min; a success begins anew", () => {
    const chooser = new KeyChooser();
    let now = NOW;
    const rests = Array.from({ length: 9 }, () => {
      chooser.answered(A, 429, undefined, now);
      const restMs = (chooser.resting(A, now)?.until ?? now) - now;
      now += restMs;
      return restMs / 1_000;
    });
    expect(rests).toEqual([5, 10, 20, 40, 80, 160, 300, 300, 300]);
    chooser.answered(A, 200, undefined, now);
    chooser.answered(A, 429, undefined, now);
    expect(chooser.resting(A, now)?.until).toBe(now + 5_000);
  });

  it("takes the refusals of calls that were under way for one", () => {
    const chooser = new KeyChooser();
    for (let i = 0; i < 20; i++) chooser.answered(A, 429, undefined, NOW + i);
    expect(chooser.resting(A, NOW)?.until).toBe(NOW + 5_000);
    chooser.answered(A, 200, undefined, NOW + 30);
    expect(chooser.resting(A, NOW + 30)?.until).toBe(NOW + 5_000);
  });

  it("rests a key that was refused with 401 for ten minutes, and no 429 shortens it", () => {
    const chooser = new KeyChooser();
    chooser.answered(A, 401, 1_000, NOW);
    chooser.answered(A, 429, 1_000, NOW);
    expect(chooser.resting(A, NOW)).toEqual({ until: NOW + 600_000, status: 401 });
  });

  it("does not rest a key for a 401 within a minute of a good answer, and does so afterwards", () => {
    const chooser = new KeyChooser();
    turns(chooser, [A, B], 2);
    chooser.answered(A, 200, undefined, NOW);
    chooser.answered(A, 401, undefined, NOW + 59_999);
    chooser.answered(B, 401, undefined, NOW);
    expect(chooser.resting(A, NOW + 59_999)).toBeUndefined();
    expect(chooser.resting(B, NOW)).toMatchObject({ status: 401 });
    chooser.answered(A, 401, undefined, NOW + 60_000);
    expect(chooser.resting(A, NOW + 60_000)).toEqual({ until: NOW + 660_000, status: 401 });
  });

  it("takes no answer from before the clock was set back for a good one of late", () => {
    const chooser = new KeyChooser();
    turns(chooser, [A], 1);
    chooser.answered(A, 200, undefined, NOW + 3_600_000);
    chooser.answered(A, 401, undefined, NOW);
    expect(chooser.resting(A, NOW)).toMatchObject({ status: 401 });
  });

  it.each([400, 403, 404, 408, 422, 500, 502, 503, 529])("does not rest a key for %d", (status) => {
    const chooser = new KeyChooser();
    chooser.answered(A, status, undefined, NOW);
    expect(chooser.resting(A, NOW)).toBeUndefined();
  });

  it("believes no Retry-After of more than a day, nor a negative one", () => {
    const chooser = new KeyChooser();
    chooser.answered(A, 429, 1e15, NOW);
    chooser.answered(B, 429, -5, NOW);
    expect(chooser.resting(A, NOW)?.until).toBe(NOW + 86_400_000);
    expect(chooser.resting(B, NOW)).toBeUndefined();
  });

  it("knows nothing more of a key that it forgot", () => {
    const chooser = new KeyChooser();
    turns(chooser, [A, B], 1);
    chooser.answered(A, 401, undefined, NOW);
    chooser.forget(A);
    expect(chooser.resting(A, NOW)).toBeUndefined();
    expect(turns(chooser, [B, A], 2)).toBe("ba");
  });

  it("throws without a candidate", () => {
    expect(() => new KeyChooser().choose([], NOW)).toThrow(expect.objectContaining({ code: "INTERNAL" }));
  });
});
