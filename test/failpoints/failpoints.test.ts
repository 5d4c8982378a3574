import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { passages } from "../support/passages.ts";
import { programCommand } from "../support/programs.ts";
import { eventually } from "../support/wait.ts";

const scratch = mkdtempSync(join(tmpdir(), "vgas-failpoints-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let runs = 0;

/** Passes `places` in a process of their own. */
function start(orders: string | undefined, places: readonly string[], armed = true) {
  const dir = join(scratch, String(runs++));
  const [file, ...args] = programCommand("failpoint-passer", ...places);
  const { VGAS_FAILPOINTS_DIR: _, VGAS_FAILPOINTS: __, ...rest } = process.env;
  const env = {
    ...rest,
    ...(armed && { VGAS_FAILPOINTS_DIR: dir }),
    ...(orders !== undefined && { VGAS_FAILPOINTS: orders }),
  };
  const child = spawn(file, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let error = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    error += text;
  });
  const ended = once(child, "close").then(() => ({
    dir,
    how: child.signalCode ?? child.exitCode,
    said: out.split("\n").filter((line) => line !== ""),
    error,
  }));
  return { dir, child, ended };
}

const pass = (orders: string | undefined, ...places: readonly string[]) => start(orders, places).ended;

describe.concurrent("failpoints", () => {
  test("are inert without a directory for their counts, whatever the orders say", async () => {
    const { dir, how, said } = await start(
      "ack.before=kill@1,run.after=rubbish",
      ["ack.before", "sent:ack.after"],
      false,
    ).ended;
    expect([how, said, existsSync(dir)]).toEqual([0, ["ack.before false at once"], false]);
  });

  test("count each passage, each thread and what was sent, and the counts outlive a kill at the ordered passage", async () => {
    const { dir, how, said } = await pass(
      "run.before=kill@3",
      ...["run.before", "run.before", "thread:task.kept", "sent:ack.after", "run.before", "run.after"],
    );
    expect(how).toBe("SIGKILL");
    expect(said).toHaveLength(2);
    expect(["run.before", "run.after", "task.kept", "ack.after"].map((name) => passages(dir, name as never))).toEqual([
      3, 0, 1, 1,
    ]);
    // A file for each thread that passed any.
    expect(readdirSync(dir)).toHaveLength(2);
  });

  test("take answers for lost from the ordered passage on, at each so-manyth", async () => {
    const { said } = await pass("swap.answer=lose@2+2", ...new Array<string>(6).fill("swap.answer"), "publish.answer");
    expect(said.map((line) => line.split(" ")[1])).toEqual([
      "false",
      "true",
      "false",
      "true",
      "false",
      "true",
      "false",
    ]);
  });

  test("take orders of a process that runs, and count from there", async () => {
    const { how, said } = await pass(
      "ack.after=stall:1@9",
      "ack.before",
      "order:ack.before=kill@2",
      "ack.before",
      "ack.before",
    );
    expect([how, said.length]).toEqual(["SIGKILL", 2]);
  });

  test("stall the thread, once", async () => {
    const { said } = await pass("pull.after=stall:200@1", "pull.after", "pull.after");
    expect(said).toEqual(["pull.after false late", "pull.after false at once"]);
  });

  test("stop the process until it is told to go on", async () => {
    const { child, ended } = start("ack.before=stop@1", ["run.after", "ack.before", "ack.after"]);
    await eventually(
      async () => (/^\d+ \(.*\) T/.test(readFileSync(`/proc/${child.pid}/stat`, "utf8")) ? true : undefined),
      "it to be stopped",
    );
    child.kill("SIGCONT");
    const { how, said } = await ended;
    expect([how, said.length]).toEqual([0, 3]);
  });

  test.each([
    "ack.before=explode@1",
    "nowhere=kill@1",
    "ack.before=kill@0",
    "ack.before=kill",
    "ack.before=stall@1",
    "x",
  ])("refuse %s, and say so", async (orders) => {
    const { how, error } = await pass(`run.after=kill@1,${orders}`, "run.before");
    expect(how).toBe(1);
    expect(error).toContain(`VGAS_FAILPOINTS: cannot read ${orders}`);
  });
});
