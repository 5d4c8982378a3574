import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { Task, TaskContext } from "../../src/actors/agent/definition.ts";
import { Reloading } from "../../src/host/reloading.ts";
import { loadAgents } from "../../src/modules.ts";
import { systemClock } from "../../src/protocols/clock.ts";
import { RecordingLogger } from "../support/recording-logger.ts";
import { eventually } from "../support/wait.ts";

const defaults = { pool: "default", slots: 1 };

/** A module with an import in a folder of its own, watched as a node does. */
async function start() {
  const dir = mkdtempSync(join(tmpdir(), "vgas-watch-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const write = (name: string, text: string): void => writeFileSync(join(dir, name), text);
  write("word.ts", 'export const word: string = "one";');
  write("agent.ts", 'import { word } from "./word.ts";\nexport default { kind: "say", run: (): string => word };');
  const module = join(dir, "agent.ts");
  const agents = (await loadAgents([module], defaults)).map((agent) => ({ ...agent }));
  const logger = new RecordingLogger();
  const changed: string[] = [];
  const tell = (file: string): void => void changed.push(file);
  const reloading = new Reloading({ modules: [module], defaults, agents, changed: tell, clock: systemClock, logger });
  reloading.start();
  onTestFinished(() => reloading.stop());
  const said = (): unknown => agents[0]?.run({} as Task, {} as TaskContext);
  const line = async (level: string, count = 1) =>
    await eventually(async () => logger.lines.filter((each) => each.level === level)[count - 1], `line of ${level}`);
  return { write, said, line, changed, module };
}

test("the next task runs what was changed in a file that the module imports", async () => {
  const { write, said, line, changed, module } = await start();
  expect(said()).toBe("one");
  write("other.ts", "export const nothing = 0;");
  write("word.ts", 'export const word: string = "two";');
  await line("info");
  expect([said(), changed]).toEqual(["two", [module]]);
});

test("a module that does not load changes nothing and says why, until it is mended", async () => {
  const { write, said, line, changed } = await start();
  write("word.ts", "export const word: = ;");
  expect((await line("error")).fields).toMatchObject({
    error: expect.stringMatching(/agent\.ts cannot be loaded: .*word\.ts/s),
  });
  expect([said(), changed]).toEqual(["one", []]);
  write("word.ts", 'export const word: string = "three";');
  await line("info");
  expect(said()).toBe("three");
});

test("a module that offers something else asks for a restart, and the old code goes on", async () => {
  const { write, said, line, changed } = await start();
  write("agent.ts", 'export default { kind: "shout", run: () => "new" };');
  expect(await line("warn")).toMatchObject({
    fields: { change: expect.stringMatching(/^kinds of --module .*agent\.ts, which was \["say"\]$/) },
    message: expect.stringContaining("restart the node"),
  });
  write("agent.ts", 'export default [{ kind: "say", run: () => 1 }, { kind: "more", run: () => 2 }];');
  expect((await line("warn", 2)).fields).toEqual({ change: "2 agents instead of 1" });
  expect([said(), changed]).toEqual(["one", []]);
});
