import { expect, test } from "vitest";
import { EvictedLives } from "../../../src/actors/gatling/evicted-lives.ts";

test("tells one life of a host from another, and forgets those that are long over", () => {
  const lives = new EvictedLives();
  lives.add({ id: "h", run: "first" });
  expect([lives.has("h", "first"), lives.has("h", "second"), lives.has("first", "h")]).toEqual([true, false, false]);
  for (let run = 0; run < 1_024; run++) lives.add({ id: "flapping", run: String(run) });
  expect(lives.has("h", "first")).toBe(false);
  // Every one that a roster can still name is known.
  expect([lives.has("flapping", "0"), lives.has("flapping", "1023")]).toEqual([true, true]);
});
