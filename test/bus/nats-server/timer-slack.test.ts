import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { spawnBroker } from "../../../src/bus/nats-server/process.ts";
import { withTimerSlack } from "../../../src/bus/nats-server/timer-slack.ts";

const SLACK = "/proc/self/timerslack_ns";

describe("timer slack", () => {
  it.runIf(process.platform === "linux")("is what a child gets, and not what this process keeps", () => {
    const before = readFileSync(SLACK, "utf8");
    const child = withTimerSlack(250_000, () => spawnSync("cat", [SLACK], { encoding: "utf8" }));
    expect(child.stdout.trim()).toBe("250000");
    expect(readFileSync(SLACK, "utf8")).toBe(before);
  });

  it.runIf(process.platform === "linux")("is what a broker is started with", async () => {
    const directory = mkdtempSync(join(tmpdir(), "vgas-test-slack-"));
    const stderr = join(directory, "stderr");
    // A shell takes for a command what a broker takes for the path of its configuration.
    const shell = { binary: "/bin/sh", config: `cat ${SLACK} >&2`, stderr, directory, environment: process.env };
    const broker = await spawnBroker({ ...shell, timerSlackNs: 250_000 });
    if (typeof broker !== "string") await broker.ended;
    expect(readFileSync(stderr, "utf8").trim()).toBe("250000");
    rmSync(directory, { recursive: true });
  });

  it("is put back where nothing could be started", () => {
    const failing = (): never => {
      throw new Error("no such program");
    };
    expect(() => withTimerSlack(250_000, failing)).toThrow("no such program");
    if (process.platform === "linux") expect(readFileSync(SLACK, "utf8").trim()).not.toBe("250000");
  });
});
