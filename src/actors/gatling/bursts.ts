/**
 * Hands assignments to hosts: one request per host and batch, answered by a receipt.
 *
 * 1. A task is the host's from its receipt on. Until then it may or may not have it, and is neither drawn again nor
 *    given up.
 * 2. Without a receipt in time the burst is recalled: the host answers with the receipt after all, or promises never to
 *    take it. This repeats until it answers or is evicted; then whoever evicts it decides.
 * 3. No responders at the first try means that the burst reached nobody.
 */
import type { Bus } from "../../bus/bus.ts";
import { decode, encode } from "../../bus/codec/codec.ts";
import { failpoint, failpointOnceSent } from "../../failpoints/failpoints.ts";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import { type Assignment, type Burst, type Receipt, recallReply, receipt } from "../../protocols/host-messages.ts";
import { MAX_BURST_BYTES } from "../../protocols/limits.ts";
import type { LaneName, Names } from "../../protocols/subjects.ts";
import type { AgentView, HostView } from "./fleet.ts";
import type { Grants } from "./grants.ts";
import type { Assigned } from "./ledger.ts";

/** How long a receipt may take before the burst is recalled, ms. */
const RECEIPT_MS = 1_000;

/** Pause between two recalls that nobody answered, ms. */
const RECALL_PAUSE_MS = 250;

/** Bytes of an assignment besides the task's own: numbers, id, ack subject and trace context. */
const ITEM_OVERHEAD_BYTES = 320;

/** A host in this process: it takes a burst without the bus. */
export interface LocalHost {
  readonly hostId: string;
  burst(burst: Burst, walked: true): Receipt;
}

export interface BurstsOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly clock: Clock;
  readonly dispatcherId: string;
  readonly local?: LocalHost | undefined;
  /** Without it nobody gets a grant. */
  readonly grants?: Grants | undefined;
  /** The burst's outcome: what the host refused or never got is to be drawn again. */
  readonly onReceipt: (host: HostView, assigned: readonly Assigned[], receipt: Receipt) => void;
  /** Nobody listened at that host. */
  readonly onNobody: (host: HostView) => void;
}

export class Bursts {
  readonly #options: BurstsOptions;
  #next = 1;
  #open = 0;

  constructor(options: BurstsOptions) {
    this.#options = options;
  }

  /** Bursts whose receipt has not come. */
  get open(): number {
    return this.#open;
  }

  /** Sends all assignments of one batch for one host, split by bytes. */
  send(
    lane: LaneName,
    base: number,
    host: HostView,
    assigned: readonly Assigned[],
    caps?: ReadonlyMap<AgentView, number>,
  ): void {
    let from = 0;
    let bytes = 0;
    for (let i = 0; i < assigned.length; i++) {
      const { task, agent } = assigned[i] as Assigned;
      const size = task.body.length + ITEM_OVERHEAD_BYTES + agent.grantBytes;
      if (i > from && bytes + size > MAX_BURST_BYTES) {
        this.#sendOne(lane, base, host, assigned.slice(from, i), caps);
        from = i;
        bytes = 0;
      }
      bytes += size;
    }
    this.#sendOne(lane, base, host, from === 0 ? assigned : assigned.slice(from), caps);
  }

  #sendOne(
    lane: LaneName,
    base: number,
    host: HostView,
    assigned: readonly Assigned[],
    caps: ReadonlyMap<AgentView, number> | undefined,
  ): void {
    const { dispatcherId, local, grants } = this.#options;
    const burst: Burst = {
      v: 1,
      from: dispatcherId,
      burst: this.#next++,
      run: host.run,
      pool: lane.pool,
      kind: lane.kind,
      base,
      items: assigned.map(assignmentOf),
      ...(caps && { caps: capsOf(assigned, caps) }),
    };
    if (host.declaresProviders) grants?.attach(lane, assigned, burst.items);
    failpoint("burst.before");
    if (local?.hostId === host.id) {
      const answer = local.burst(burst, true);
      failpoint("burst.after");
      this.#settle(host, assigned, answer);
      return;
    }
    this.#open++;
    host.openBursts++;
    void this.#deliver(host, burst)
      .then((answer) => {
        if (answer) this.#settle(host, assigned, answer);
      })
      .finally(() => {
        this.#open--;
        host.openBursts--;
      });
  }

  #settle(host: HostView, assigned: readonly Assigned[], answer: Receipt): void {
    // In this order `free` is never too high in between.
    host.report(answer.free);
    for (const { agent } of assigned) agent.unassign();
    this.#options.onReceipt(host, assigned, answer);
  }

  /** The receipt, or undefined if the host was evicted before it could be had. */
  async #deliver(host: HostView, burst: Burst): Promise<Receipt | undefined> {
    const { bus, names, onNobody } = this.#options;
    try {
      const subject = names.host(host.id, "burst");
      const answered = bus.request("host.burst", subject, encode(burst), { timeoutMs: RECEIPT_MS });
      failpointOnceSent("burst.after");
      const answer = await answered;
      if (failpoint("receipt.answer")) throw new VgasError("TIMEOUT", `the receipt of ${host.id} was lost`);
      return receipt.parse(decode(answer.data));
    } catch (error) {
      if (error instanceof VgasError && error.code === "UNDELIVERABLE") {
        const refused = burst.items.map(([n]) => n);
        onNobody(host);
        return { v: 1, burst: burst.burst, refused, free: [] };
      }
      return this.#recall(host, burst);
    }
  }

  async #recall(host: HostView, burst: Burst): Promise<Receipt | undefined> {
    failpoint("burst.recalled");
    const { bus, clock, names, dispatcherId } = this.#options;
    const body = encode({ v: 1, from: dispatcherId, burst: burst.burst });
    while (host.state !== "out") {
      try {
        const answer = await bus.request("host.recall", names.host(host.id, "recall"), body, { timeoutMs: RECEIPT_MS });
        const reply = recallReply.parse(decode(answer.data));
        return "unknown" in reply
          ? { v: 1, burst: burst.burst, refused: burst.items.map(([n]) => n), free: [] }
          : reply;
      } catch (error) {
        if (error instanceof VgasError && error.code === "SHUTTING_DOWN") return undefined;
        await new Promise<void>((resolve) => clock.setTimeout(resolve, RECALL_PAUSE_MS));
      }
    }
    return undefined;
  }
}

function capsOf(assigned: readonly Assigned[], caps: ReadonlyMap<AgentView, number>): number[] {
  const named = new Set(assigned.map(({ agent }) => agent));
  return [...named].flatMap((agent) => [agent.number, caps.get(agent) ?? agent.slots]);
}

function assignmentOf({ n, task, agent, ticket }: Assigned): Assignment {
  const { attempt, id, submittedAt, timeoutMs, maxAttempts, ack, body, traceparent } = task;
  const { number } = agent;
  const item: Assignment = [n, number, ticket, attempt, id, submittedAt, timeoutMs, maxAttempts, ack, body];
  // A grant takes the place of the null.
  if (traceparent !== undefined) item.push(null, traceparent);
  return item;
}
