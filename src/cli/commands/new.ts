import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { VgasError } from "../../protocols/errors.ts";
import { isToken } from "../../protocols/tokens.ts";
import type { Cli } from "../cli.ts";
import { addExamples } from "../examples.ts";

export function addNew(program: Command, cli: Cli): void {
  const parent = program.command("new").summary("write a starter").description("Writes a starter that runs as it is.");
  const command = parent
    .command("agent")
    .summary("an agent and its test")
    .description(
      "Writes NAME.ts, an agent that takes tasks of kind NAME, and NAME.test.ts. What is there is not overwritten.",
    )
    .argument("<name>", "kind of its tasks, and name of the files", kind)
    .option("--dir <folder>", "where to (default: this folder)")
    .action((name: string, { dir = "." }: { readonly dir?: string }) => {
      const files = [
        [join(dir, `${name}.ts`), agent(name)],
        [join(dir, `${name}.test.ts`), test(name)],
      ] as const;
      const there = files.find(([path]) => existsSync(path));
      if (there) throw new VgasError("CONFLICT", `${there[0]} is there already; nothing was written`);
      mkdirSync(dir, { recursive: true });
      for (const [path, text] of files) {
        writeFileSync(path, text, { flag: "wx" });
        cli.terminal.data(path);
      }
      cli.terminal.note(
        `vgas: try it with \`vgas test ${files[1][0]}\`, run it with \`vgas up --module ${files[0][0]}\``,
      );
    });
  for (const each of [parent, command])
    addExamples(each, [["vgas new agent wordcount"], ["vgas new agent wordcount --dir agents"]]);
}

function kind(text: string): string {
  if (!isToken(text)) throw new InvalidArgumentError("It must be a token [A-Za-z0-9_-]{1,64}.");
  return text;
}

const agent = (name: string): string => `import { defineAgent, type Task, type TaskContext, TaskError } from "vgas";

interface Input {
  readonly text: string;
}

export default defineAgent({
  kind: ${JSON.stringify(name)},
  slots: 8,
  async run(task: Task<Input>, ctx: TaskContext) {
    const text = task.input?.text;
    if (typeof text !== "string") {
      // Trying again would not help.
      throw new TaskError("BAD_INPUT", "the input must be {text}", { retryable: false });
    }
    ctx.log.info({ characters: text.length }, "began");
    ctx.progress({ done: 0.5 });
    // Pass ctx.signal to whatever waits: it fires at the timeout, at a cancel, and when the node stops.
    return { characters: text.length };
  },
});
`;

const test = (name: string): string => `import assert from "node:assert/strict";
import { test } from "node:test";
import { testAgent } from "vgas/testing";
import agent from "./${name}.ts";

test("counts the characters of a text", async () => {
  const { result, events } = await testAgent(agent, { input: { text: "four" } });
  assert.equal(result.status, "ok");
  assert.deepEqual(result.output, { characters: 4 });
  assert.deepEqual(events.map(({ data }) => data), [{ done: 0.5 }]);
});

test("refuses an input without a text for good", async () => {
  const { result, attempts } = await testAgent(agent, { input: null });
  assert.equal(result.status, "failed");
  assert.equal(result.error?.code, "BAD_INPUT");
  assert.equal(attempts.length, 1);
});
`;
