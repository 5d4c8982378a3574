/** What a dispatcher asks hosts when its own knowledge may have gaps. */
import type { Bus } from "../../bus/bus.ts";
import { decode, encode } from "../../bus/codec/codec.ts";
import { VgasError } from "../../protocols/errors.ts";
import { ownedReply, type RunningTask, runningReply, whereReply } from "../../protocols/host-messages.ts";
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

/** What hosts said; `silent` is one that did not answer in time. */
export interface Answers<T> {
  readonly found: readonly T[];
  readonly silent: string | undefined;
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

  /** Tells every host of the pool that these tasks are cancelled; they run, or are never begun there (Cancel of host-messages). */
  async cancel(hosts: Iterable<HostView>, pool: string, ids: readonly string[]): Promise<Answers<string>> {
    return await this.#askAll(hosts, "cancel", pool, ids, (answer) => runningReply.parse(answer).ids);
  }

  /** How those of `ids` that some host runs are doing. */
  async where(
    hosts: Iterable<HostView>,
    pool: string,
    ids: readonly string[],
  ): Promise<Answers<RunningTask & { readonly host: string }>> {
    return await this.#askAll(hosts, "where", pool, ids, (answer, host) =>
      whereReply.parse(answer).tasks.map((task) => ({ ...task, host })),
    );
  }

  /** A host where nobody listens has nothing; one that is silent may have anything. */
  async #askAll<T>(
    hosts: Iterable<HostView>,
    operation: "cancel" | "where",
    pool: string,
    ids: readonly string[],
    read: (answer: unknown, host: string) => readonly T[],
  ): Promise<Answers<T>> {
    const { bus, names } = this.#options;
    const body = encode({ v: 1, pool, ids });
    const found: T[] = [];
    let silent: string | undefined;
    const asked = [...hosts].filter(({ groups }) => groups.some((group) => group.pool === pool));
    await Promise.all(
      asked.map(async ({ id }) => {
        try {
          const subject = names.host(id, operation);
          const answer = await bus.request(`host.${operation}`, subject, body, { timeoutMs: ASK_MS });
          found.push(...read(decode(answer.data), id));
        } catch (error) {
          if (!(error instanceof VgasError && error.code === "UNDELIVERABLE")) silent = id;
        }
      }),
    );
    return { found, silent };
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
