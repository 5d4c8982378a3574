/**
 * The canary: a user of the broker without any right, whose key is new in every writing of accounts.conf. A broker that accepts
 * it has loaded that writing. Its seed is kept, so that a process that finds the file written by another can tell whether the
 * broker has loaded it.
 */
import { readIfPresent, writeWhole } from "../home/files.ts";
import { createUserKeys, userKeyOfSeed } from "../sealed/user-keys.ts";
import { CANARY, parseSeed, seedFileOf } from "./user-records.ts";

export interface Canary {
  readonly seed: Uint8Array;
  /** Public nkey, `U…`. */
  readonly publicKey: string;
}

/** Of the last writing, or of one that was cut short; undefined if there is none that can be used. */
export async function readCanary(dir: string): Promise<Canary | undefined> {
  const path = seedFileOf(dir, CANARY);
  const text = await readIfPresent(path);
  if (text === undefined) return undefined;
  try {
    const seed = parseSeed(text, path);
    return { seed, publicKey: userKeyOfSeed(seed) };
  } catch {
    // It opens nothing and is made anew.
    return undefined;
  }
}

/** A new one, on disk before it is in the accounts file. */
export async function hatchCanary(dir: string): Promise<Canary> {
  const canary = createUserKeys();
  await writeWhole(seedFileOf(dir, CANARY), `${new TextDecoder().decode(canary.seed)}\n`);
  return canary;
}
