/** What of a home is worth keeping: everything but who uses it now, and what its broker has said. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { VgasError } from "../../protocols/errors.ts";
import { diskError } from "../home/files.ts";

export interface Contents {
  /** Below the home, with `/` between their parts; a directory comes before what is in it. */
  readonly directories: readonly string[];
  readonly files: readonly string[];
}

const LEFT_OUT: readonly RegExp[] = [
  // Locks: of the home, and of each part of it.
  /^(?:[^/]+\/)?lock(?:\/|$)/,
  // Which process the broker is, and what it has said.
  /^nats\/broker\.json$/,
  /^nats\/nats-server\.(?:log|stderr)(?:\.|$)/,
  // What a killed process had begun to write (files.ts).
  /\.\d+\.[0-9a-f]{12}\.tmp$/,
];

/** Longest path below a home: far more than any that vgas or its broker makes. */
const MAX_PATH_CHARS = 1_024;

/** Neither saved nor restored. */
export function isLeftOut(path: string): boolean {
  return LEFT_OUT.some((pattern) => pattern.test(path));
}

/** A path that leads from a home to something in it, on every system. */
export function isSafePath(path: string): boolean {
  if (path.length > MAX_PATH_CHARS || /[\\\p{Cc}]/u.test(path)) return false;
  return path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

/** @throws VgasError CONFIG for a link, a device or a name that no backup can hold; or of the disk */
export async function contentsOf(dir: string): Promise<Contents> {
  const directories: string[] = [];
  const files: string[] = [];
  const pending = [""];
  for (let below = pending.pop(); below !== undefined; below = pending.pop()) {
    const at = join(dir, below);
    const entries = await readdir(at, { withFileTypes: true }).catch((error: unknown) => {
      throw diskError(error, `list ${at}`);
    });
    for (const entry of entries) {
      const path = below === "" ? entry.name : `${below}/${entry.name}`;
      if (isLeftOut(path) || entry.isSocket()) continue;
      if (!isSafePath(path)) throw unfit(dir, path, "has a name that a backup cannot hold; rename it");
      if (entry.isDirectory()) {
        directories.push(path);
        pending.push(path);
      } else if (entry.isFile()) files.push(path);
      else throw unfit(dir, path, "is a link or a device, and a backup holds files only: move it out of the home");
    }
  }
  return { directories: directories.sort(), files: files.sort() };
}

function unfit(dir: string, path: string, why: string): VgasError {
  return new VgasError("CONFIG", `${JSON.stringify(join(dir, path))} ${why}`);
}
