/** How a client reaches an external NATS system, which has its own users and certificates. */
import { readFile } from "node:fs/promises";
import { readSeed } from "../bus/credentials/user-records.ts";
import { diskError } from "../bus/home/files.ts";
import type { Config } from "../config.ts";
import { inboxPrefix } from "../protocols/subjects.ts";

export interface ExternalConnection {
  readonly url: string;
  /** Undefined where the system asks for no credential. */
  readonly seed: Uint8Array | undefined;
  /** PEM of its authority; undefined for one that the system's own list knows. */
  readonly ca: string | undefined;
  readonly inboxPrefix: string;
}

/**
 * What the configuration says of the system at `url`. Its inboxes are those of `user`, the name that the table of roles
 * gives to all who share a role.
 *
 * @throws VgasError CONFIG if a file cannot be read, NOT_FOUND if there is no seed where it is said to be
 */
export async function externalConnection(
  url: string,
  { natsSeedFile, natsCaFile }: Pick<Config, "natsSeedFile" | "natsCaFile">,
  user: string,
): Promise<ExternalConnection> {
  return {
    url,
    seed: natsSeedFile === undefined ? undefined : await readSeed(natsSeedFile),
    ca: natsCaFile === undefined ? undefined : await readCertificates(natsCaFile),
    inboxPrefix: inboxPrefix(user),
  };
}

async function readCertificates(path: string): Promise<string> {
  return await readFile(path, "utf8").catch((error: unknown) => {
    throw diskError(error, `read ${path}`);
  });
}
