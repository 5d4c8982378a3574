/** A disk of a few megabytes that a test can fill, empty and make read-only: a tmpfs, which takes root. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** Why none can be made here; undefined if it can. */
export function smallDiskMissing(): string | undefined {
  const dir = mkdtempSync(join(tmpdir(), "vgas-disk-"));
  const said = mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", dir);
  if (said === undefined) spawnSync("umount", ["-l", dir]);
  rmSync(dir, { recursive: true });
  return said;
}

export class SmallDisk {
  readonly dir: string;

  /** It is gone at the end of the test. */
  constructor(bytes: number) {
    this.dir = mkdtempSync(join(tmpdir(), "vgas-disk-"));
    must(mount("-t", "tmpfs", "-o", `size=${bytes},mode=700`, "tmpfs", this.dir));
    onTestFinished(() => {
      spawnSync("umount", ["-l", this.dir]);
      rmSync(this.dir, { recursive: true, force: true });
    });
  }

  get #filling(): string {
    return join(this.dir, "filling");
  }

  /** Leaves no byte. */
  fill(): void {
    try {
      for (;;) writeFileSync(this.#filling, Buffer.alloc(64 * 1024), { flag: "a" });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    }
  }

  async empty(): Promise<void> {
    await rm(this.#filling);
  }

  /** Those who write fail from now on, or no longer. */
  set readOnly(on: boolean) {
    must(mount("-o", `remount,${on ? "ro" : "rw"}`, this.dir));
  }
}

function mount(...args: readonly string[]): string | undefined {
  const { status, stderr, error } = spawnSync("mount", args, { encoding: "utf8" });
  return status === 0 ? undefined : (error?.message ?? stderr.trim());
}

function must(said: string | undefined): void {
  if (said !== undefined) throw new Error(said);
}
