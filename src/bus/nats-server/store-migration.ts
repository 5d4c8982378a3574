/**
 * What brokers of before have stored lies under the account that a server without accounts has; ours is called otherwise now.
 * One rename moves it, so a process that is killed meanwhile leaves it at one of the two places.
 *
 * No broker may run on the home.
 */
import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { VgasError } from "../../protocols/errors.ts";
import { SWARM_ACCOUNT } from "../../protocols/guest-account.ts";
import type { Logger } from "../../protocols/logger.ts";
import { diskError, errnoOf } from "../home/files.ts";
import type { HomeLayout } from "../home/layout.ts";

/** Folders of the accounts in a server's store: of a server without accounts, and of ours. */
const BEFORE = "$G";
const NOW = SWARM_ACCOUNT;

/** @throws VgasError CONFIG if both accounts hold streams: which of them counts is not for us to say; or of the disk */
export async function migrateStore(layout: HomeLayout, logger: Logger): Promise<void> {
  const accounts = join(layout.nats.store, "jetstream");
  const [before, now] = [join(accounts, BEFORE), join(accounts, NOW)];
  const streams = await entries(join(before, "streams"));
  if (streams.length === 0) return;
  if ((await entries(join(now, "streams"))).length > 0) {
    throw new VgasError(
      "CONFIG",
      `${before} and ${now} both hold streams, of an older vgas and of this one: move away the one that is not needed`,
    );
  }
  try {
    // What an account without streams has there is a server's own, and it makes it again.
    await rm(now, { recursive: true, force: true });
    await rename(before, now);
  } catch (error) {
    throw diskError(error, `rename ${before} to ${now}`);
  }
  logger.info({ streams: streams.length }, "moved the store of an older vgas to the account of this one");
}

async function entries(dir: string): Promise<readonly string[]> {
  return await readdir(dir).catch((error: unknown) => {
    // What is wrong with the store itself, the server says.
    if (["ENOENT", "ENOTDIR"].includes(errnoOf(error) ?? "")) return [];
    throw diskError(error, `list ${dir}`);
  });
}
