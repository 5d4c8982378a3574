/**
 * The vault's files: `vault.bin`, and `vault.prev.bin` with what stood there before the last write. 0600 in a folder of 0700.
 *
 * 1. Each file is replaced by a rename, after its bytes are on disk: whoever is killed at any moment leaves the old or the new.
 * 2. The previous generation is a copy of the present one before that is replaced, with bytes of its own, so that no damage
 *    in place hits both.
 * 3. Writers take turns by a lock between processes; what they decide on, they read under it.
 * 4. Files that others could read or change, links, and files of other users are refused, not mended.
 */
import { readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { FileLock } from "../../../bus/home/file-lock.ts";
import { makePrivateDir, readPrivate, refuseOpenDir, writeWhole } from "../../../bus/home/files.ts";
import type { Clock } from "../../../protocols/clock.ts";
import { VgasError } from "../../../protocols/errors.ts";
import { type Container, damaged, MAX_FILE_BYTES, parseContainer } from "./container.ts";

const PRESENT = "vault.bin";
const PREVIOUS = "vault.prev.bin";
/** What a killed writer leaves; the form is that of `writeWhole`. */
const TEMPORARY = /^vault(?:\.prev)?\.bin\.\d+\.[0-9a-f]+\.tmp$/;
/** A write takes milliseconds: whoever waits this long waits for something that hangs. */
const LOCK_WAIT_MS = 10_000;

export class VaultFiles {
  readonly #dir: string;
  readonly #clock: Clock;
  /** A lock that could not be given back, on a full disk: still ours, and used for the next write. */
  #kept: FileLock | undefined;

  constructor(dir: string, clock: Clock) {
    this.#dir = dir;
    this.#clock = clock;
  }

  /** The present file, or undefined if there is none. @throws VgasError CONFIG, VAULT_DAMAGED */
  async read(): Promise<Container | undefined> {
    if (!(await refuseOpenDir(this.#dir))) return undefined;
    const container = await readContainer(this.#path(PRESENT)).catch((error: unknown) => {
      throw error instanceof VgasError && error.code === "VAULT_DAMAGED" ? this.#withRemedy(error) : error;
    });
    // Damaged or refused, it is there all the same.
    if (container === undefined && (await readPrivate(this.#path(PREVIOUS), MAX_FILE_BYTES).catch(() => PREVIOUS))) {
      throw this.#withRemedy(damaged(`is missing, but ${PREVIOUS} is there`));
    }
    return container;
  }

  /** What stood there before, or undefined if there is nothing usable. */
  async readPrevious(): Promise<Container | undefined> {
    return await readContainer(this.#path(PREVIOUS)).catch(() => undefined);
  }

  /** Does `work` while no other process writes. @throws VgasError TIMEOUT if another one holds the lock, CONFIG */
  async exclusively<T>(operation: string, work: () => Promise<T>): Promise<T> {
    await makePrivateDir(this.#dir);
    await refuseOpenDir(this.#dir);
    const lock = this.#kept ?? (await FileLock.acquire(this.#path("lock"), operation, LOCK_WAIT_MS, this.#clock));
    this.#kept = lock;
    try {
      return await work();
    } finally {
      await lock.release().then(
        () => {
          this.#kept = undefined;
        },
        () => undefined,
      );
    }
  }

  /** Only within `exclusively`. @throws VgasError CONFIG: then the present file is as it was */
  async replace(present: Container | undefined, next: Container): Promise<void> {
    if (present !== undefined) await writeWhole(this.#path(PREVIOUS), present.bytes);
    await writeWhole(this.#path(PRESENT), next.bytes);
  }

  /** Makes the previous generation the same as the present one. Only within `exclusively`. @throws VgasError CONFIG */
  async replacePrevious(present: Container): Promise<void> {
    await writeWhole(this.#path(PREVIOUS), present.bytes);
  }

  /** Removes what killed writers left. Never fails: it can wait. */
  async cleanUp(): Promise<void> {
    try {
      if ((await this.#temporaries()).length === 0) return;
      await this.exclusively("cleaning up the vault", async () => {
        for (const name of await this.#temporaries()) await unlink(this.#path(name));
      });
    } catch {
      // The next start tries again.
    }
  }

  async #temporaries(): Promise<readonly string[]> {
    const names = await readdir(this.#dir);
    return names.filter((name) => TEMPORARY.test(name));
  }

  #withRemedy(error: VgasError): VgasError {
    const remedy = `put a backup or ${PREVIOUS} in the place of ${this.#path(PRESENT)}`;
    return new VgasError("VAULT_DAMAGED", `${error.message}; ${remedy}`, { cause: error });
  }

  #path(name: string): string {
    return join(this.#dir, name);
  }
}

async function readContainer(path: string): Promise<Container | undefined> {
  const bytes = await readPrivate(path, MAX_FILE_BYTES).catch((error: unknown) => {
    throw error instanceof VgasError && error.code === "TOO_LARGE" ? damaged("is larger than any vault", error) : error;
  });
  return bytes === undefined ? undefined : parseContainer(bytes);
}
