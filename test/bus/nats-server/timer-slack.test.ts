import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { withTimerSlack } from "../../../src/bus/nats-server/timer-slack.ts";

const SLACK = "/proc/self/timerslack_ns";

describe("timer slack", () => {
  it.runIf(process.platform === "linux")("is what a child gets, and not what this process keeps", () => {
    const before = readFileSync(SLACK, "utf8");
    const child = withTimerSlack(250_000, () => spawnSync("cat", [SLACK], { encoding: "utf8" }));
    expect(child.stdout.trim()).toBe("250000");
    expect(readFileSync(SLACK, "utf8")).toBe(before);
  });

  it("is put back where nothing could be started", () => {
    const failing = (): never => {
      throw new Error("no such program");
    };
    expect(() => withTimerSlack(250_000, failing)).toThrow("no such program");
    if (process.platform === "linux") expect(readFileSync(SLACK, "utf8").trim()).not.toBe("250000");
  });
});
