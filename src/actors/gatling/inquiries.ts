/** What a dispatcher asks hosts when its own knowledge may have gaps. */
import type { Bus } from "../../bus/bus.ts";
import { decode, encode } from "../../bus/codec/codec.ts";
import { ownedReply, runningReply } from "../../protocols/host-messages.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { LaneName, Names } from "../../protocols/subjects.ts";
import type { HostView } from "./fleet.ts";

/** How long a host may take to answer, ms. */
const ASK_MS = 1_000;

export interface InquiriesOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly dispatcherId: string;
  readonly logger: Logger;
}

export class Inquiries {
  readonly #options: InquiriesOptions;

  constructor(options: InquiriesOptions) {
    this.#options = options;
  }

  /** Those of `ids` that a host still runs; undefined if a host did not answer. */
  async stillRunning(
    hosts: Iterable<HostView>,
    lane: LaneName,
    ids: readonly string[],
  ): Promise<ReadonlySet<string> | undefined> {
    const { bus, names } = this.#options;
    const body = encode({ v: 1, pool: lane.pool, ids });
    const offering = [...hosts].filter(({ groups }) => groups.some(({ pool }) => pool === lane.pool));
    const answers = await Promise.allSettled(
      offering.map(async ({ id }) => {
        const answer = await bus.request("host.running", names.host(id, "running"), body, { timeoutMs: ASK_MS });
        return runningReply.parse(decode(answer.data)).ids;
      }),
    );
    if (answers.some(({ status }) => status === "rejected")) return undefined;
    return new Set(answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : [])));
  }

  /** Those of `ns` that `host` has no more. None if it does not answer. */
  async notOwned(host: HostView, ns: readonly number[]): Promise<readonly number[]> {
    const { bus, names, dispatcherId, logger } = this.#options;
    try {
      const body = encode({ v: 1, from: dispatcherId, ns });
      const answer = await bus.request("host.owned", names.host(host.id, "owned"), body, { timeoutMs: ASK_MS });
      const reply = ownedReply.parse(decode(answer.data));
      if (reply.run !== host.run) return [];
      const still = new Set(reply.ns);
      return ns.filter((n) => !still.has(n));
    } catch (error) {
      logger.debug({ host: host.id, error: String(error) }, "assignments could not be compared");
      return [];
    }
  }
}
