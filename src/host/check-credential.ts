/** What a node finds out about its credential before it starts anything with it. */
import type { Bus } from "../bus/bus.ts";
import { missingPermissions } from "../bus/permission-check.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import type { Names } from "../protocols/subjects.ts";
import { copied } from "./copies.ts";
import type { Link } from "./link.ts";

/**
 * As long as a node is given to answer for its id. An answer proves that one runs; silence proves nothing, since it may be
 * suspended, cut off, or blocked by a task that computes: `watchForCopies` goes on looking.
 */
const COPY_TIMEOUT_MS = 1_000;
/** As many are named; the rest is counted. */
const MAX_NAMED = 5;

/**
 * @throws VgasError PERMISSION_DENIED naming what the credential does not open; HOME_COPIED if another process answers for
 *   the same id
 */
export async function checkCredential(
  bus: Bus,
  names: Names,
  { hostId, role, server }: Link,
  logger: Logger,
): Promise<void> {
  // The owner of the broker has every right, and nobody else its credential.
  if (server !== undefined) return;
  const missing = await missingPermissions(bus, role, hostId, names);
  if (missing === "unknown") logger.debug({ role }, "NATS does not tell what the credential may do");
  else if (missing.length > 0) throw denied(role, hostId, missing);
  await refuseCopy(bus, names, hostId);
}

function denied(
  role: string,
  hostId: string,
  missing: readonly { readonly operation: string; readonly subject: string }[],
): VgasError {
  const named = missing.slice(0, MAX_NAMED).map(({ operation, subject }) => `${operation} ${subject}`);
  const more = missing.length - named.length;
  const list = `${named.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
  return new VgasError(
    "PERMISSION_DENIED",
    `the credential does not open what role ${role} needs: ${list}; \`vgas permissions --role ${role} --user ${hostId}\` prints all`,
  );
}

/** The old connection of a machine that lost its power may still stand at the server: it answers nothing. */
async function refuseCopy(bus: Bus, names: Names, hostId: string): Promise<void> {
  const answered = await bus
    .request("looking for a copy of this node", names.host(hostId, "stats"), new Uint8Array(), {
      timeoutMs: COPY_TIMEOUT_MS,
    })
    .then(
      () => true,
      () => false,
    );
  if (answered) throw copied(hostId);
}
