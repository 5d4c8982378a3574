/** The main job on a project made for it, in a process of its own as `npm start` runs it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll, expect, onTestFinished, test } from "vitest";
import { inspectPackage } from "../../examples/audit/inspect.ts";
import { findPackages } from "../../examples/audit/packages.ts";
import { connect } from "../../src/client.ts";
import { temporaryDirectory } from "../support/home.ts";
import { eventually } from "../support/wait.ts";

const MAIN = fileURLToPath(new URL("../../examples/audit/main.ts", import.meta.url));
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const NEVER = new AbortController().signal;

/** What the loader of TypeScript has compiled, for all jobs. */
const compiled = await mkdtemp(join(tmpdir(), "vgas-compiled-"));
afterAll(() => rm(compiled, { recursive: true, force: true }));

/** A folder with these files; a value that is no text is written as JSON. */
async function project(files: Record<string, unknown>): Promise<string> {
  const dir = await temporaryDirectory();
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), typeof content === "string" ? content : JSON.stringify(content));
  }
  return dir;
}

const FILES = {
  "node_modules/plain/package.json": { name: "plain", version: "1.0.0", license: "MIT" },
  "node_modules/plain/index.js": "module.exports = 1;\n",
  "node_modules/plain/node_modules/nested/package.json": { name: "nested", version: "2.0.0", license: { type: "ISC" } },
  "node_modules/@scope/scoped/package.json": {
    name: "@scope/scoped",
    version: "3.0.0",
    licenses: [{ type: "MIT" }, { type: "Apache-2.0" }],
    scripts: { postinstall: "node x.js", test: "no" },
  },
  "node_modules/native/package.json": { name: "native", version: "4.0.0", license: "MIT" },
  "node_modules/native/binding.gyp": "{}",
  "node_modules/native/build/x.node": "binary",
  "node_modules/broken/package.json": '{"name": "broken", ',
  "node_modules/\u001b[31mred/package.json": [1],
  "node_modules/.bin/tool": "#!/bin/sh",
  "node_modules/no-package/readme": "",
};

interface Job {
  readonly pid: number;
  readonly temporary: string;
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string }>;
}

/** Starts the job, with a folder for temporary files that must be empty at its end, but for what is compiled. */
async function startJob(...args: readonly string[]): Promise<Job> {
  const temporary = await temporaryDirectory();
  await symlink(compiled, join(temporary, "jiti"));
  const child = spawn(process.execPath, ["--import", "jiti/register", MAIN, ...args], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, TMPDIR: temporary, VGAS_NATS_URL: "nats://127.0.0.1:1", VGAS_HOME: "/dev/null" },
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [stdout, stderr] = [text(child.stdout), text(child.stderr)];
  const ended = once(child, "close").then(async ([code, signal]) => ({
    code,
    signal,
    stdout: await stdout,
    stderr: await stderr,
  }));
  return { pid: child.pid ?? 0, temporary, ended };
}

test("finds scoped and nested packages, links once, and nothing else", async () => {
  const dir = await project(FILES);
  await symlink(join(dir, "node_modules/plain"), join(dir, "node_modules/zz-link"));
  await symlink("..", join(dir, "node_modules/plain/node_modules/loop"));
  expect((await findPackages(dir)).map(({ location }) => location.replaceAll("\u001b", "ESC"))).toEqual([
    "node_modules/ESC[31mred",
    "node_modules/@scope/scoped",
    "node_modules/broken",
    "node_modules/native",
    "node_modules/plain",
    "node_modules/plain/node_modules/nested",
  ]);
  expect(await findPackages(join(dir, "nowhere"))).toEqual([]);
});

test("reads name, licence in every form, scripts and native code of a package", async () => {
  const dir = await project(FILES);
  const inspect = (location: string) => inspectPackage(join(dir, location), location, NEVER);
  expect(await inspect("node_modules/plain")).toMatchObject({
    name: "plain",
    licence: "MIT",
    files: 2,
    installScripts: [],
    native: [],
  });
  expect(await inspect("node_modules/plain/node_modules/nested")).toMatchObject({ version: "2.0.0", licence: "ISC" });
  expect(await inspect("node_modules/@scope/scoped")).toMatchObject({
    licence: "MIT OR Apache-2.0",
    installScripts: ["postinstall: node x.js"],
  });
  expect(await inspect("node_modules/native")).toMatchObject({
    installScripts: ["install: node-gyp rebuild (npm's own)"],
    native: ["binding.gyp", "build/x.node"],
  });
  expect(await inspect("node_modules/broken")).toMatchObject({
    ...{ name: "broken", version: "?", licence: "unknown" },
    problem: expect.stringContaining("not JSON"),
  });
});

test("the digest depends on paths, lengths and contents, and on nothing else", async () => {
  const digestOf = async (files: Record<string, string>): Promise<string> => {
    const dir = await project({ "package.json": "{}", ...files });
    return (await inspectPackage(dir, "x", NEVER)).sha256;
  };
  const first = await digestOf({ "a.js": "1", "b/c.js": "2" });
  expect(await digestOf({ "b/c.js": "2", "a.js": "1", "node_modules/x/package.json": "{}" })).toBe(first);
  expect(await digestOf({ "a.js": "2", "b/c.js": "1" })).not.toBe(first);
  expect(await digestOf({ "a.js": "1", "b/d.js": "2" })).not.toBe(first);
  expect(await digestOf({ "a.js": "12", "b/c.js": "" })).not.toBe(first);
});

test("audits every package, reports, and leaves nothing behind", async () => {
  const { temporary, ended } = await startJob(await project(FILES));
  const { code, stdout, stderr } = await ended;
  expect(stderr).toMatch(/^auditing 6 packages in .*, a task each\n$/);
  expect(stdout).not.toContain("\u001b");
  const [lines, ...sections] = stdout.split(/\n\n/);
  expect(lines?.split("\n").every((line) => line.startsWith("✔ "))).toBe(true);
  expect(lines?.split("\n")).toHaveLength(6);
  expect(lines).toMatch(/broken \? .* odd/);
  expect(sections.map((section) => section.split("\n")[0])).toEqual([
    "Licences · packages",
    "Largest packages · size",
    "Install scripts · 2 packages",
    "Native code · 1 package",
    "Damaged package.json · 2 packages",
    "Rotation · 6 turns, 8 agents, skew 1",
    expect.stringMatching(/^6 packages, 9 files, /),
  ]);
  for (const line of stdout.split("\n")) expect(line.length, line).toBeLessThanOrEqual(80);
  expect(code).toBe(0);
  expect(await homesIn(temporary)).toEqual([]);
});

test("with --keep the swarm can be talked to until it is stopped, and then nothing is left", async () => {
  const { temporary, ended } = await startJob("--keep", await project(FILES));
  const { code, stdout } = await ended;
  expect(code).toBe(0);
  const pid = Number(/kill (\d+)\n$/.exec(stdout)?.[1]);
  const home = /status --home (.*)/.exec(stdout)?.[1] ?? "";
  const client = await connect({ home });
  expect(await (await client.submit("echo", "still here")).result()).toMatchObject({ output: "still here" });
  await client.close();
  process.kill(pid, "SIGTERM");
  await gone(temporary);
});

test.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)("%s stops the swarm too, and ends with %i", async (signal, exitCode) => {
  const job = await startJob(await project(FILES));
  await somethingIn(job.temporary);
  process.kill(job.pid, signal);
  const { code, stderr } = await job.ended;
  expect(stderr).toContain(`stopped by ${signal}`);
  expect(code).toBe(exitCode);
  expect(await homesIn(job.temporary)).toEqual([]);
});

test("the swarm of a job that was killed stops by itself and removes its home", async () => {
  const job = await startJob(await project(FILES));
  await somethingIn(job.temporary);
  process.kill(job.pid, "SIGKILL");
  expect((await job.ended).signal).toBe("SIGKILL");
  await gone(job.temporary);
});

test("says what is wrong with its arguments", async () => {
  const jobs = [await startJob(await temporaryDirectory()), await startJob("--nonsense")];
  const [nothing, unknown] = await Promise.all(jobs.map(({ ended }) => ended));
  expect(nothing).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("there are no packages in") });
  expect(unknown).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining("usage: npm start") });
});

/** Homes of swarms; the loader of TypeScript keeps something there too. */
async function homesIn(temporary: string): Promise<readonly string[]> {
  return (await readdir(temporary)).filter((name) => name.startsWith("vgas-"));
}

/** Resolves when the job has made its home. */
async function somethingIn(temporary: string): Promise<void> {
  await eventually(async () => ((await homesIn(temporary)).length > 0 ? true : undefined), "the home of the job");
}

/** Resolves when the swarm has removed its home. */
async function gone(temporary: string): Promise<void> {
  await eventually(async () => ((await homesIn(temporary)).length === 0 ? true : undefined), "the home to be removed");
}
