import { expect, it } from "vitest";
import { apiErrorCode } from "../../src/bus/nats-errors.ts";

it("takes a cluster whose servers do not all know each other yet for one that has no leader yet, which is waited for", () => {
  expect(apiErrorCode(10_005)).toBe(apiErrorCode(10_008));
});
