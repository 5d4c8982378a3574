/** `vgas new agent` and `vgas test`, as somebody uses them in an empty folder. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { vgas as inProcess } from "./in-process.ts";
import { temporary, vgas } from "./support.ts";

test("writes an agent and its test, which passes anywhere; and nothing over what is there", async () => {
  const dir = join(temporary(), "agents");
  const [agent, itsTest] = [join(dir, "count.ts"), join(dir, "count.test.ts")];
  const written = await inProcess(["new", "agent", "count", "--dir", dir]);
  expect(written).toMatchObject({ code: 0, out: `${agent}\n${itsTest}\n` });
  expect(written.err).toContain(`vgas up --module ${agent}`);

  const passed = await vgas(["test", itsTest]);
  expect(passed.out).toMatch(/counts the characters of a text[\s\S]*pass 2\b[\s\S]*fail 0\b/);
  expect(passed.code).toBe(0);

  writeFileSync(agent, readFileSync(agent, "utf8").replace("text.length };", "0 };"));
  writeFileSync(join(dir, "broken.test.ts"), "const a: = 1;");
  const failed = await vgas(["test", itsTest, join(dir, "broken.test.ts")]);
  expect(failed.out).toMatch(/broken\.test\.ts[\s\S]*pass 1\b[\s\S]*fail 2\b/);
  expect(failed.code).toBe(1);

  writeFileSync(itsTest, "mine");
  const again = await inProcess(["new", "agent", "count", "--dir", dir]);
  expect(again).toMatchObject({ code: 1, out: "" });
  expect(again.err).toContain("is there already; nothing was written");
  expect(readFileSync(itsTest, "utf8")).toBe("mine");
});

test("refuses a name that is no token, and tests that are not there", async () => {
  const dir = temporary();
  expect(await inProcess(["new", "agent", "a.b", "--dir", dir])).toMatchObject({ code: 2, out: "" });
  expect(existsSync(join(dir, "a.b.ts"))).toBe(false);
  const missing = await inProcess(["test", join(dir, "none.test.ts")]);
  expect(missing).toMatchObject({ code: 4, out: "" });
  expect(missing.err).toContain("there is no file");
});
