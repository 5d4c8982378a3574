/**
 * Grants: with them a dispatcher vouches to the vault for the attempts that it hands out.
 *
 * 1. A grant names one attempt, the agent and host that run it, and the providers that this agent declares; nobody else can use
 *    it, and not for longer than the attempt may take.
 * 2. Only agents that declare providers get one. Hosts without such agents cost one look per burst.
 */
import { encode } from "../../bus/codec/codec.ts";
import type { Signer } from "../../bus/sealed/signing.ts";
import type { Clock } from "../../protocols/clock.ts";
import type { Assignment } from "../../protocols/host-messages.ts";
import { DEADLINE_GRACE_MS } from "../../protocols/limits.ts";
import { agentId } from "../../protocols/rotation.ts";
import type { LaneName } from "../../protocols/subjects.ts";
import { GRANT_DOMAIN, type Grant } from "../../protocols/vault/messages.ts";
import type { Assigned } from "./ledger.ts";

/** Bytes of a signed grant besides its providers: eight names of at most 64 bytes, the signature, and what msgpack adds. */
const GRANT_BYTES = 1_024;

const DOMAIN = Buffer.from(GRANT_DOMAIN);

/** How much a grant for these providers adds to an assignment, at most; 0 if there are none. */
export function grantBytes(providers: readonly string[]): number {
  if (providers.length === 0) return 0;
  return providers.reduce((sum, provider) => sum + Buffer.byteLength(provider) + 2, GRANT_BYTES);
}

export class Grants {
  readonly #signer: Signer;
  readonly #clock: Clock;

  constructor(signer: Signer, clock: Clock) {
    this.#signer = signer;
    this.#clock = clock;
  }

  /** Adds grants to the items of a burst; `items[i]` is `assigned[i]`. */
  attach(lane: LaneName, assigned: readonly Assigned[], items: readonly Assignment[]): void {
    for (const [i, each] of assigned.entries()) {
      const item = items[i];
      if (item && each.agent.providers.length > 0) item[10] = this.#grant(lane, each);
    }
  }

  #grant({ pool, kind }: LaneName, { task, agent }: Assigned): Uint8Array {
    const grant: Grant = {
      v: 1,
      pool,
      kind,
      task: task.id,
      attempt: task.attempt,
      submittedAt: task.submittedAt,
      host: agent.host.id,
      agent: agentId(agent.host.id, agent.number),
      providers: [...agent.providers],
      expiresAt: this.#clock.now() + task.timeoutMs + DEADLINE_GRACE_MS,
    };
    const body = encode(grant);
    const signature = this.#signer.sign(Buffer.concat([DOMAIN, body]));
    return encode({ user: this.#signer.user, body, signature });
  }
}
