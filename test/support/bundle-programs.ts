/**
 * Bundles the programs of the tests, once for a run: to compile one at each start, or to read the hundred files that it imports,
 * takes far longer than what most of them do.
 */
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import type { TestProject } from "vitest/node";
import { PROGRAMS } from "./programs.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

let made: string | undefined;

/** Called by vitest, in its own process, before the first file. */
export async function setup(project: TestProject): Promise<void> {
  made = await mkdtemp(join(tmpdir(), "vgas-programs-"));
  // What they look for in the package, and what is not bundled.
  for (const name of ["package.json", "nats-server.conf", "node_modules", ".cache"]) {
    await symlink(join(ROOT, name), join(made, name));
  }
  const dir = join(made, "programs");
  const bundled = await rolldown({ cwd: ROOT, input: PROGRAMS, external: ["msgpackr-extract"], platform: "node" });
  await bundled.write({ dir, format: "esm" });
  await bundled.close();
  project.provide("programs", dir);
}

export async function teardown(): Promise<void> {
  if (made !== undefined) await rm(made, { recursive: true, force: true });
}
