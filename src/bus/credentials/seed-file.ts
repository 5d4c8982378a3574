/** The key of a user in a file of its own, for a NATS system whose users are not made by vgas. */
import { createUser, fromSeed } from "@nats-io/nkeys";
import { VgasError } from "../../protocols/errors.ts";
import { createWhole } from "../home/files.ts";
import { readSeed } from "./user-records.ts";

/**
 * The public nkey (`U…`) of the seed in `path`, which is made (mode 0600) if there is no such file; one that is there is
 * never changed.
 *
 * @throws VgasError CONFIG if the file cannot be made, holds no seed of a user, or can be read by others
 */
export async function ensureSeedFile(path: string): Promise<string> {
  const found = await readSeed(path).catch((error: unknown) => {
    if (error instanceof VgasError && error.code === "NOT_FOUND") return undefined;
    throw error;
  });
  return found === undefined ? await makeSeedFile(path) : publicKeyOf(found);
}

async function makeSeedFile(path: string): Promise<string> {
  const pair = createUser();
  const publicKey = pair.getPublicKey();
  const made = await createWhole(path, `${new TextDecoder().decode(pair.getSeed())}\n`);
  pair.clear();
  return made ? publicKey : publicKeyOf(await readSeed(path));
}

function publicKeyOf(seed: Uint8Array): string {
  return fromSeed(seed).getPublicKey();
}
