/**
 * How long the tests go on that look for what happens rarely. `npm test` lets each fault strike, in as few rounds as that takes;
 * `npm run test:faults` goes on for longer (VGAS_TEST_ROUNDS=all).
 */
const ALL = process.env["VGAS_TEST_ROUNDS"] === "all";

/** `few` in `npm test`, `all` in `npm run test:faults`. */
export function rounds(few: number, all: number): number {
  return ALL ? all : few;
}
