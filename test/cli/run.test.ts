import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { TestSwarm } from "../support/swarm.ts";
import { until } from "../support/wait.ts";
import { vgas as inProcess } from "./in-process.ts";
import { FIXTURES, start, temporary, vgas } from "./support.ts";

const swarm = new TestSwarm();
const home = ["--home", swarm.home];
const module = ["--module", join(FIXTURES, "agents.ts")];

beforeAll(async () => {
  await swarm.up(...module);
});

interface Result {
  readonly id: string;
  readonly status: string;
  readonly output: unknown;
}

function results(out: string): readonly Result[] {
  return out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Result);
}

function lines(...tasks: readonly unknown[]): string {
  return tasks.map((task) => JSON.stringify(task)).join("\n");
}

test("runs every line of a file and prints each result, exit code 0", async () => {
  const file = join(temporary(), "tasks.jsonl");
  writeFileSync(
    file,
    lines(...Array.from({ length: 500 }, (_, input) => ({ kind: "echo", id: `run-${input}`, input }))),
  );
  const { code, out, err } = await vgas(["run", file, ...home]);
  const outputs = results(out).map(({ id, output }) => [id, output]);
  expect(new Map(outputs as [string, number][])).toEqual(
    new Map(Array.from({ length: 500 }, (_, i) => [`run-${i}`, i])),
  );
  expect(outputs).toHaveLength(500);
  expect(err).toMatch(/^500 ok in [\d.]+ s$/m);
  expect(code).toBe(0);
});

test("names the line of what is no task, runs the rest, and exits with 3", async () => {
  const stdin = [
    '{"kind":"echo","input":1}',
    "",
    "nonsense",
    '{"kind":"a b"}',
    "[1]",
    '{"kind":"echo","timeoutMs":0}',
    '{"kind":"refuse"}',
  ];
  const { code, out, err } = await vgas(["run", "-", ...home], { stdin: stdin.join("\n") });
  expect(
    results(out)
      .map(({ status }) => status)
      .sort(),
  ).toEqual(["failed", "ok"]);
  expect(err).toContain("line 3: not JSON");
  expect(err).toContain('line 4: task field "kind" must be a token');
  expect(err).toContain("line 5: a line must be one JSON object");
  expect(err).toContain('line 6: task field "timeoutMs" must be an integer from 1');
  expect(err).toContain("1 ok, 1 failed, 4 lines refused");
  expect(code).toBe(3);
});

test("a file that is not there, and one that is a directory, are usage errors", async () => {
  const dir = temporary();
  const missing = await inProcess(["run", join(dir, "none.jsonl"), ...home]);
  expect(missing.err).toContain("there is no such file");
  expect(missing.code).toBe(2);
  const directory = await inProcess(["run", dir, ...home]);
  expect(directory.err).toContain("is a directory");
  expect(directory.code).toBe(2);
});

test("says at once that nobody offers a kind, and on a signal what is still in the swarm", async () => {
  const running = start(["run", "-", ...home], { stdin: lines({ kind: "nobody" }, { kind: "echo", input: 1 }) });
  await running.said("Nobody offers kind nobody in pool default");
  await running.line(0);
  running.child.kill("SIGTERM");
  const { code, err } = await running.end;
  expect(err).toContain("1 unfinished task is still in the swarm");
  expect(code).toBe(143);
});

test("--timeout ends a run that waits, with 5", async () => {
  const { code, err } = await inProcess(["run", "-", "--timeout", "300", ...home], {
    stdin: lines({ kind: "nobody" }),
  });
  expect(err).toContain("the run timed out after 300 ms");
  expect(code).toBe(5);
});

test("so it does before all lines have come, or what was submitted is known to be stored", async () => {
  const { code, out, err } = await inProcess(["run", "-", "--timeout", "50", ...home], { stdin: "open" });
  expect(err).toContain("the run timed out after 50 ms");
  expect({ code, out }).toEqual({ code: 5, out: "" });
});

test("a reader that goes away ends the run with 1: not all results were delivered", async () => {
  const running = start(["run", "-", ...home], { stdin: "open" });
  running.child.stdin?.write(`${lines({ kind: "echo" })}\n`);
  await running.line(0);
  running.child.stdout?.destroy();
  running.child.stdin?.write(`${lines({ kind: "echo" })}\n`);
  expect((await running.end).code).toBe(1);
});

test("without a swarm starts a private one with the modules given, and leaves nothing behind", async () => {
  const [scratch, dir] = [temporary(), temporary()];
  const { code, out, err } = await vgas(["run", "-", "--home", join(dir, "none"), ...module], {
    stdin: lines({ kind: "echo", input: "private" }, { kind: "refuse" }, { kind: "nobody" }),
    env: { TMPDIR: scratch },
  });
  expect(err).toContain("starting a private one");
  expect(err).toContain("line 3: nobody offers kind nobody");
  expect(results(out).find(({ status }) => status === "ok")?.output).toBe("private");
  expect(err).toContain("1 ok, 1 failed, 1 line refused");
  expect(code).toBe(3);
  expect(leftBy(scratch, dir)).toEqual([]);
});

test.each(["one", "two"] as const)("a private swarm is gone after %s SIGINT", async (signals) => {
  const [scratch, dir] = [temporary(), temporary()];
  const started = join(temporary(), "started");
  const running = start(["run", "-", "--home", join(dir, "none"), ...module], {
    stdin: lines({ kind: "hold", input: { started, go: join(scratch, "never") } }),
    env: { TMPDIR: scratch },
  });
  await until(() => existsSync(started));
  running.child.kill("SIGINT");
  if (signals === "two") {
    await running.said("ended with the private swarm");
    running.child.kill("SIGINT");
  }
  const { code, err } = await running.end;
  expect(err).toContain("1 unfinished task ended with the private swarm");
  expect(code).toBe(130);
  expect(leftBy(scratch, dir)).toEqual([]);
});

test("a swarm that was named and does not answer is not replaced by a private one", async () => {
  const { code, err } = await vgas(["run", "-", "--nats", "nats://127.0.0.1:1"], { stdin: lines({ kind: "echo" }) });
  expect(err).toContain("no NATS server answered at nats://127.0.0.1:1");
  expect(code).toBe(69);
});

/** What is left in the directories; module loaders keep a cache of what they compiled. */
function leftBy(scratch: string, dir: string): readonly string[] {
  return [...readdirSync(scratch), ...readdirSync(dir)].filter(
    (name) => name !== "jiti" && !name.startsWith("node-compile-cache"),
  );
}
