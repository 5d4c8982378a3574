/**
 * Whether a grant is that of a running attempt of the node that shows it.
 *
 * 1. It was signed by a user that deals tasks, and names the host that asks and the provider that it asks for.
 * 2. It is void when the attempt's deadline has passed, when the task has its result, when the attempt is known to have ended,
 *    and when a later attempt of the task is known.
 */
import type { AttemptsLog } from "../../bus/attempts.ts";
import { decode } from "../../bus/codec/codec.ts";
import type { ResultStore } from "../../bus/results.ts";
import { verifySignature } from "../../bus/sealed/signing.ts";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import { DEADLINE_GRACE_MS, MAX_TIMEOUT_MS } from "../../protocols/limits.ts";
import type { UserRole } from "../../protocols/roles.ts";
import { GRANT_DOMAIN, type Grant, grant as grantSchema, signedGrant } from "../../protocols/vault/messages.ts";
import type { Principals } from "./door.ts";
import type { TaskName, Who } from "./trail/entry.ts";

export interface GrantsOptions {
  readonly principals: Principals;
  readonly results: ResultStore;
  readonly attempts: AttemptsLog;
  readonly clock: Clock;
}

/** The longest timeout of a task, the grace after it, and a minute between the clocks of dispatcher and vault. */
const MAX_GRANT_MS = MAX_TIMEOUT_MS + DEADLINE_GRACE_MS + 60_000;

const DEALERS: readonly UserRole[] = ["dispatcher", "system"];
const domain = Buffer.from(GRANT_DOMAIN);

export class Grants {
  readonly #options: GrantsOptions;

  constructor(options: GrantsOptions) {
    this.#options = options;
  }

  /** @throws VgasError GRANT_VOID with the precise reason; what reading the results throws */
  async check(bytes: Uint8Array, who: Who, provider: string): Promise<Grant> {
    const grant = await this.#read(bytes);
    if (grant.host !== who.host)
      throw voided(grant, `it is for the node "${grant.host}", not for "${who.host ?? who.user}"`);
    if (!grant.providers.includes(provider)) throw voided(grant, `it is not for the provider "${provider}"`);
    const lateMs = this.#options.clock.now() - grant.expiresAt;
    if (-lateMs > MAX_GRANT_MS)
      throw voided(grant, `it would be good for ${Math.round(-lateMs)} ms, longer than any attempt`);
    if (lateMs >= 0) throw voided(grant, `it ended ${Math.round(lateMs)} ms ago`);
    await this.#checkRunning(grant);
    return grant;
  }

  async #read(bytes: Uint8Array): Promise<Grant> {
    try {
      const { user, body, signature } = signedGrant.parse(decode(bytes));
      const dealer = await this.#options.principals.find(user);
      const signed = dealer !== undefined && DEALERS.includes(dealer.role);
      if (signed && verifySignature(dealer.publicKey, Buffer.concat([domain, body]), signature))
        return grantSchema.parse(decode(body));
    } catch {
      // Said below: of what is not signed nothing is told.
    }
    throw new VgasError("GRANT_VOID", "the grant is not signed by a dispatcher of this swarm");
  }

  async #checkRunning(grant: Grant): Promise<void> {
    const { pool, task, attempt, submittedAt } = grant;
    const [result, record] = await Promise.all([
      this.#options.results.find(pool, task),
      this.#options.attempts.read(pool, { id: task, submittedAt }),
    ]);
    if (result !== undefined) throw voided(grant, "the task has its result");
    if (record === undefined) return;
    if (record.attempts > attempt) throw voided(grant, `attempt ${record.attempts} of the task has begun`);
    if (record.ended === true && record.attempts === attempt) throw voided(grant, "the attempt has ended");
  }
}

/** How the trail names the task of a grant. */
export function taskOf({ pool, kind, task, attempt, agent }: Grant): TaskName {
  return { pool, kind, id: task, attempt, agent };
}

function voided({ pool, task, attempt }: Grant, why: string): VgasError {
  return new VgasError("GRANT_VOID", `the grant of task ${pool}/${task}, attempt ${attempt}, is void: ${why}`);
}
