/** The key of a user in a file of its own, for a NATS system whose users are not made by vgas. */
import { VgasError } from "../../protocols/errors.ts";
import { createWhole } from "../home/files.ts";
import { createUserKeys, userKeyOfSeed } from "../sealed/user-keys.ts";
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
  return found === undefined ? await makeSeedFile(path) : userKeyOfSeed(found);
}

async function makeSeedFile(path: string): Promise<string> {
  const { seed, publicKey } = createUserKeys();
  const made = await createWhole(path, `${new TextDecoder().decode(seed)}\n`);
  seed.fill(0);
  return made ? publicKey : userKeyOfSeed(await readSeed(path));
}
