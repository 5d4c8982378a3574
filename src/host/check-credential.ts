/** What a node finds out about its credential before it starts anything with it. */
import type { Bus } from "../bus/bus.ts";
import { missingPermissions } from "../bus/permission-check.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import type { Names } from "../protocols/subjects.ts";
import type { Link } from "./link.ts";

/** A node that runs answers within its network's round trip, also while it is busy: its event loop turns between tasks. */
const COPY_TIMEOUT_MS = 1_000;
/** As many are named; the rest is counted. */
const MAX_NAMED = 5;

/**
 * @throws VgasError PERMISSION_DENIED naming what the credential does not open; HOME_COPIED if another process runs with the
 *   same id
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
  else if (missing.length > 0) throw denied(role, missing);
  await refuseCopy(bus, names, hostId);
}

function denied(role: string, missing: readonly { readonly operation: string; readonly subject: string }[]): VgasError {
  const named = missing.slice(0, MAX_NAMED).map(({ operation, subject }) => `${operation} ${subject}`);
  const more = missing.length - named.length;
  const list = `${named.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
  return new VgasError(
    "PERMISSION_DENIED",
    `the credential does not open what a ${role} needs: ${list}; \`vgas permissions --role ${role}\` prints all`,
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
  if (!answered) return;
  const message = `a node with the id ${hostId} runs already: this home, or the file of its connection, is a copy of that node's`;
  throw new VgasError("HOME_COPIED", `${message}; give this node an empty --home and let it join anew`);
}
