import { join } from "node:path";
import { FileLock } from "../bus/home/file-lock.ts";
import { makePrivateDir } from "../bus/home/files.ts";
import type { HomeLayout } from "../bus/home/layout.ts";

/** Others hold the lock for a few writes of small files. */
const LOCK_WAIT_MS = 30_000;

/** Changes of tokens and of who waits are made by the node and by commands of other processes: one at a time. */
export async function exclusively<T>(layout: HomeLayout, operation: string, action: () => Promise<T>): Promise<T> {
  const { dir, tokens, pending } = layout.admission;
  for (const part of [dir, tokens, pending]) await makePrivateDir(part);
  // By the system's clock: what it waits for is other processes, which know no other.
  const lock = await FileLock.acquire(join(dir, "lock"), operation, LOCK_WAIT_MS);
  try {
    return await action();
  } finally {
    await lock.release();
  }
}
