/**
 * What this dispatcher has handed to hosts and not yet heard the end of.
 *
 * 1. Every assignment stands here from the moment its tickets are won until its host says that it ended, refuses it, or
 *    is evicted.
 * 2. A single task is acknowledged by its host. What is lost here is therefore only delayed: it comes back by `ack_wait`.
 *    An array element is acknowledged by us, so it must not be lost here: whatever stays silent is asked for.
 */
import type { Settled } from "../../protocols/host-messages.ts";
import type { AgentView, HostView } from "./fleet.ts";
import type { TaskInHand } from "./task-in-hand.ts";

export interface Assigned {
  readonly n: number;
  readonly task: TaskInHand;
  readonly agent: AgentView;
  readonly ticket: number;
  readonly givenAt: number;
  /** The receipt has come: it is the host's. */
  taken: boolean;
}

export class Ledger {
  readonly #byHost = new Map<HostView, Map<number, Assigned>>();
  #next = 1;
  #size = 0;

  /** Assignments that have not ended. */
  get size(): number {
    return this.#size;
  }

  add(task: TaskInHand, agent: AgentView, ticket: number, givenAt: number): Assigned {
    const assigned: Assigned = { n: this.#next++, task, agent, ticket, givenAt, taken: false };
    let ofHost = this.#byHost.get(agent.host);
    if (!ofHost) {
      ofHost = new Map();
      this.#byHost.set(agent.host, ofHost);
    }
    ofHost.set(assigned.n, assigned);
    this.#size++;
    return assigned;
  }

  /** Takes an assignment out. Undefined if it is not there any more. */
  take(host: HostView, n: number): Assigned | undefined {
    const ofHost = this.#byHost.get(host);
    const assigned = ofHost?.get(n);
    if (assigned && ofHost?.delete(n)) this.#size--;
    return assigned;
  }

  /** Takes out everything given to `host`. */
  takeAll(host: HostView): readonly Assigned[] {
    const all = [...(this.#byHost.get(host)?.values() ?? [])];
    this.#byHost.delete(host);
    this.#size -= all.length;
    return all;
  }

  /** All of them. */
  *all(): Iterable<Assigned> {
    for (const ofHost of this.#byHost.values()) yield* ofHost.values();
  }

  /** Applies a host's notice: calls `again` for elements to be tried again. */
  settle(host: HostView, notice: Settled, again: (assigned: Assigned) => void): void {
    const ofHost = this.#byHost.get(host);
    for (const n of notice.done) {
      const assigned = ofHost?.get(n);
      if (!assigned || !ofHost?.delete(n)) continue;
      this.#size--;
      assigned.task.array?.settleOne();
    }
    for (const n of notice.again) {
      const assigned = this.take(host, n);
      if (assigned) again(assigned);
    }
  }

  /** Numbers taken by `host` that were given before `givenBefore` (monotonic ms). */
  olderThan(host: HostView, givenBefore: number): readonly number[] {
    const ns: number[] = [];
    for (const assigned of this.#byHost.get(host)?.values() ?? []) {
      if (assigned.taken && assigned.givenAt < givenBefore) ns.push(assigned.n);
    }
    return ns;
  }
}
