/** Every benchmark that `npm run bench` knows, with small counts, in one run of the program. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bundleInto, programIn } from "../../bench/bundle.ts";
import type { Results } from "../../bench/document.ts";

const MAIN = "main.ts";
const RESULTS = ["json", "svg"].map((ending) =>
  fileURLToPath(new URL(`../../bench/results.${ending}`, import.meta.url)),
);
const dir = mkdtempSync(join(tmpdir(), "vgas-smoke-"));

/** By the first test. */
let ran: readonly string[] = [];

// Compiled file by file, as `npm run bench` does, it would take as long as some of the benchmarks.
beforeAll(() => bundleInto(dir, [MAIN]));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function bench(...args: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const env = { ...process.env, TMPDIR: dir };
  const child = spawn(process.execPath, [programIn(dir, MAIN), ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const)
    child[name].setEncoding("utf8").on("data", (text: string) => {
      said[name] += text;
    });
  await once(child, "close");
  return { code: child.exitCode, ...said };
}

test("each benchmark works with --quick, reports figures, judges nothing, and leaves nothing behind", async () => {
  const before = RESULTS.map((path) => existsSync(path) && readFileSync(path, "utf8"));
  const { code, stdout, stderr } = await bench("--quick", "--json");
  expect(code, stderr).toBe(0);
  const results = JSON.parse(stdout) as Results;
  expect(results).toMatchObject({ quick: true, pairs: 1, versions: { "nats-server": expect.any(String) } });
  ran = results.benchmarks.map(({ name }) => name);
  for (const { name, tables, targets } of results.benchmarks) {
    expect(tables.length, name).toBeGreaterThan(0);
    for (const { title, rows, columns } of tables) {
      const figures = rows.flatMap((row) => row.flatMap((cell) => (typeof cell === "string" ? [] : cell)));
      expect(figures.length, `${name}: ${title}`).toBeGreaterThan(0);
      expect(figures, `${name}: ${title}`).toSatisfy((all: number[]) => all.every(Number.isFinite));
      expect(Math.max(...figures), `${name}: ${title}`).toBeGreaterThan(0);
      for (const row of rows) expect(row, `${name}: ${title}`).toHaveLength(columns.length);
    }
    expect(targets.map(({ reached }) => reached)).toEqual(targets.map(() => null));
  }
  expect(RESULTS.map((path) => existsSync(path) && readFileSync(path, "utf8"))).toEqual(before);
  expect(readdirSync(dir).filter((name) => name.startsWith("vgas-"))).toEqual([]);
});

test("wrong usage says what there is, exits with 2 and prints nothing on stdout", async () => {
  const { code, stdout, stderr } = await bench("--quick", "--pairs", "none");
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain("--pairs must be an integer");
  expect(stderr).toContain("usage: npm run bench");
  expect([...stderr.matchAll(/^ {2}([a-z]+) {2,}\S/gm)].map(([, name]) => name)).toEqual(ran);
});
