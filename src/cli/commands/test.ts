import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Command } from "commander";
import { entryArguments } from "../../entry.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Cli } from "../cli.ts";
import { addExamples } from "../examples.ts";
import { EXIT } from "../failure.ts";

const TEST_FILE = /\.test\.[mc]?[jt]s$/;
/** Others' tests, and what no tests are looked for in. */
const SKIPPED = new Set(["node_modules", "dist"]);

export function addTest(program: Command, cli: Cli): void {
  const command = program
    .command("test")
    .summary("run the tests of your agents")
    .description(
      "Runs test files that use node:test, without a swarm. TypeScript, `vgas` and `vgas/testing` work in them in any folder.",
    )
    .argument("[files...]", "test files (default: every *.test.ts and *.test.js below this folder)")
    .action(async (files: readonly string[]) => {
      const found = files.length > 0 ? files.map(existing) : testFilesBelow(process.cwd());
      if (found.length === 0)
        throw new VgasError(
          "NOT_FOUND",
          "no *.test.ts or *.test.js is below this folder: `vgas new agent NAME` writes one",
        );
      const passed = await run(found, cli);
      if (cli.interrupt.received !== undefined) cli.exitCode = cli.interrupt.exitCode;
      else if (!passed) cli.exitCode = EXIT.failure;
    });
  addExamples(command, [["vgas test", "everything below this folder"], ["vgas test wordcount.test.ts"]]);
}

function existing(file: string): string {
  const path = resolve(file);
  if (!existsSync(path)) throw new VgasError("NOT_FOUND", `there is no file ${file}`);
  return path;
}

function testFilesBelow(folder: string): readonly string[] {
  const found: string[] = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isFile() && TEST_FILE.test(entry.name)) found.push(path);
    else if (entry.isDirectory() && !entry.name.startsWith(".") && !SKIPPED.has(entry.name))
      found.push(...testFilesBelow(path));
  }
  return found.sort();
}

/** Whether all passed. */
async function run(files: readonly string[], { terminal, env, interrupt }: Cli): Promise<boolean> {
  const colour = terminal.outStyle.enabled ? { FORCE_COLOR: "1" } : {};
  const child = spawn(
    process.execPath,
    ["--test-reporter=spec", ...entryArguments("run-tests", "./testing/run-tests.ts"), ...files],
    // A runner that is itself under test would take its reports for its own.
    { stdio: ["ignore", "pipe", "pipe"], env: { ...env, NODE_TEST_CONTEXT: undefined, ...colour } },
  );
  const stop = (): void => void child.kill();
  interrupt.signal.addEventListener("abort", stop, { once: true });
  const ended = new Promise<number | null>((done, fail) => {
    child.once("close", done);
    child.once("error", fail);
  });
  createInterface({ input: child.stdout }).on("line", (line) => void terminal.data(line));
  createInterface({ input: child.stderr }).on("line", (line) => terminal.note(line));
  const code = await ended;
  interrupt.signal.removeEventListener("abort", stop);
  return code === 0;
}
