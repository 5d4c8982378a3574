/** What `npm run test:faults` does for long, once: a host and a dispatcher are killed under load, and connections are reset. */
import { afterAll, expect, it } from "vitest";
import { courseOf, run } from "./course.ts";
import { FAULTS } from "./faults/index.ts";
import type { LiveWorld } from "./live-world.ts";

const STRIKES: readonly string[] = ["host-kill", "dispatcher-kill", "proxy-reset"];
/** The course has bounds of its own, and says what it waited for. */
const TIMEOUT_MS = 400_000;
const worlds = new Set<LiveWorld>();

// Where the test was given up.
afterAll(async () => {
  for (const world of worlds) await world.close({ keep: true });
});

it("P1 to P5: holds all promises while a host and a dispatcher are killed in mid-task and connections reset, and reaches the paths for that", {
  timeout: TIMEOUT_MS,
}, async () => {
  const faults = FAULTS.filter(({ name }) => STRIKES.includes(name));
  const course = courseOf(faults, "server", "quick", 1);
  const { strikes, errors, violations, accepted, dir } = await run(
    { ...course, world: { ...course.world, hosts: 2, rate: 60 } },
    worlds,
  );
  expect({ errors, violations, dir }).toEqual({ errors: [], violations: [], dir: undefined });
  expect(strikes).toBe(STRIKES.length);
  expect(accepted).toBeGreaterThan(0);
});
