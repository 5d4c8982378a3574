/** Real processes on a vault. They are many, so their sources are compiled once and started as they are. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, onTestFinished } from "vitest";
import { kill } from "../../../support/home.ts";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
const FIXTURES = "test/actors/vault/store/fixtures";

/** Starts a fixture of this folder. */
export type StartFixture = (name: "killed-writer" | "rival", ...args: readonly string[]) => ChildProcess;

/** To be called once in a file of tests. */
export function useFixtures(): StartFixture {
  let out = "";
  beforeAll(async () => {
    out = await mkdtemp(join(tmpdir(), "vgas-fixtures-"));
    const config = {
      extends: join(ROOT, "tsconfig.json"),
      compilerOptions: {
        ...{ noEmit: false, noCheck: true, allowJs: false, checkJs: false, rootDir: ROOT, outDir: join(out, "js") },
        ...{ types: [], paths: {} },
      },
      files: ["killed-writer", "rival"].map((name) => join(ROOT, FIXTURES, `${name}.ts`)),
      include: [],
    };
    await writeFile(join(out, "tsconfig.json"), JSON.stringify(config));
    await writeFile(join(out, "package.json"), JSON.stringify({ type: "module" }));
    await symlink(join(ROOT, "node_modules"), join(out, "node_modules"));
    const compiler = join(ROOT, "node_modules", "typescript", "bin", "tsc");
    await promisify(execFile)(process.execPath, [compiler, "-p", join(out, "tsconfig.json")]);
  });
  afterAll(() => rm(out, { recursive: true, force: true }));
  return (name, ...args) => {
    const file = join(out, "js", FIXTURES, `${name}.js`);
    const child = spawn(process.execPath, [file, ...args], { stdio: ["pipe", "pipe", "inherit"] });
    onTestFinished(() => kill(child));
    return child;
  };
}

/** How a child ended, and what it printed. */
export async function ended(
  child: ChildProcess,
): Promise<{ signal: NodeJS.Signals | null; code: number | null; said: string }> {
  let said = "";
  child.stdout?.on("data", (data: Buffer) => {
    said += data.toString();
  });
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return { signal, code, said: said.trim() };
}
