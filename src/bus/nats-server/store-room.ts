/** Whether a broker's store can be written, and how much room there is. */
import { open, statfs, unlink } from "node:fs/promises";
import { join } from "node:path";
import { diskError, errnoOf, PRIVATE_FILE_MODE } from "../home/files.ts";

/** A broker that starts writes an index of each stream; with less than this it would only fail again. */
const LEAST_BYTES = 4 * 2 ** 20;
/** What a write can need at once: a message of the largest size. */
const FULL_BYTES = 2 ** 20;
const PROBE = ".probe";
const PROBE_BYTES = 4_096;

export interface StoreRoom {
  /** What the disk has left for this user; undefined if it does not say. */
  readonly freeBytes: number | undefined;
  /** Why the store cannot be written, as its owner has to know it. */
  readonly trouble: string | undefined;
}

/** `full`: a write now would fail, or soon. */
export function isFull({ freeBytes }: Pick<StoreRoom, "freeBytes">): boolean {
  return freeBytes !== undefined && freeBytes < FULL_BYTES;
}

/** With `write` it is tried, else only looked at. Never rejects. */
export async function storeRoom(dir: string, { write }: { readonly write: boolean }): Promise<StoreRoom> {
  const freeBytes = await statfs(dir).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => undefined,
  );
  const refused = write ? await tryToWrite(dir) : undefined;
  if (refused !== undefined) return { freeBytes, trouble: refused };
  if (freeBytes === undefined || freeBytes >= LEAST_BYTES) return { freeBytes, trouble: undefined };
  const left = `${(freeBytes / 2 ** 20).toFixed(1)} MiB`;
  return { freeBytes, trouble: `the disk of ${dir} is full (${left} are left): free some space` };
}

/** A new file, because what is there may be written where nothing new can be made. */
async function tryToWrite(dir: string): Promise<string | undefined> {
  const path = join(dir, PROBE);
  try {
    const file = await open(path, "w", PRIVATE_FILE_MODE);
    try {
      await file.writeFile(Buffer.alloc(PROBE_BYTES));
    } finally {
      await file.close();
      await unlink(path);
    }
    return undefined;
  } catch (error) {
    // Before the first start there is no store.
    return errnoOf(error) === "ENOENT" ? undefined : diskError(error, `write to ${dir}`).message;
  }
}
