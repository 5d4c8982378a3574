import { describe, expect, it } from "vitest";
import { RestartBudget } from "../../../src/bus/nats-server/restart-budget.ts";

describe("the budget of restarts", () => {
  it("waits longer each time and ends when the limit is passed within the window", () => {
    const budget = new RestartBudget(5, 60_000);
    expect([0, 1, 2, 3, 4, 5].map((second) => budget.next(second * 1_000))).toEqual([0, 100, 200, 400, 800, undefined]);
  });

  it("forgets what is older than the window", () => {
    const budget = new RestartBudget(2, 60_000);
    expect([0, 59_999, 60_000, 60_001].map((at) => budget.next(at))).toEqual([0, 100, 100, undefined]);
  });
});
