/**
 * What a machine may lack for some tests. A suite that lacks it is skipped and says why; where VGAS_REQUIRE (a comma list)
 * names it, as .ci/run does, lacking it is a failure.
 */
import { afterAll, describe } from "vitest";

export type Requirement = "network" | "avahi" | "c" | "mount";

/**
 * `describe`, or a skipped one. `missing` is why `what` is not there, undefined if it is.
 *
 * Throws while the file is collected, so that all of the file fails, if it is missing and required.
 */
export function describeWith(what: Requirement, missing: string | undefined): typeof describe | typeof describe.skip {
  if (missing === undefined) return describe;
  if (required(what)) throw new Error(`VGAS_REQUIRE names ${what}, and it is missing: ${missing}`);
  afterAll(() => console.warn(`skipped for want of ${what}: ${missing}`));
  return describe.skip;
}

function required(what: Requirement): boolean {
  return (process.env["VGAS_REQUIRE"] ?? "").split(",").some((name) => name.trim() === what);
}
