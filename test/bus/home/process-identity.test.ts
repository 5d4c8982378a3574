import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { identify, liveness, processesWithArguments } from "../../../src/bus/home/process-identity.ts";
import { kill } from "../../support/home.ts";
import { eventually } from "../../support/wait.ts";

const ARGUMENTS = ["-e", "setInterval(() => {}, 1e9)", `mark ${process.pid}`];

describe("the identity of a process", () => {
  it("holds while it runs, and not for a later process with the same pid", async () => {
    const own = await identify(process.pid);
    if (own === undefined) throw new Error("this process was not found");
    expect(await liveness(own)).toBe("alive");
    expect(await liveness({ ...own, started: "1" })).toBe("dead");
    expect(await liveness({ ...own, boot: "an earlier one" })).toBe("dead");
    expect(await liveness({ ...own, namespace: "pid:[1]" })).toBe("unknown");
    expect(await liveness({ ...own, machine: "elsewhere", boot: "another" })).toBe("unknown");
  });

  it("is dead after the process is", async () => {
    const child = spawn(process.execPath, ARGUMENTS);
    await once(child, "spawn");
    const identity = await identify(child.pid ?? 0);
    if (identity === undefined) throw new Error("the child was not found");
    const found = async () => {
      const pids = await processesWithArguments(ARGUMENTS);
      return pids.length > 0 ? pids : undefined;
    };
    expect(await eventually(found, "the child to be found")).toEqual([child.pid]);
    expect(await processesWithArguments(ARGUMENTS.slice(0, 2))).toEqual([]);
    expect(await processesWithArguments([...ARGUMENTS].reverse())).toEqual([]);
    await kill(child);
    expect(await liveness(identity)).toBe("dead");
    expect(await identify(identity.pid)).toBeUndefined();
  });
});
