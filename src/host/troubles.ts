/** What troubles a node, as its parts know it: for its HTTP pages, and for whoever asks how the swarm does. */
import type { DispatcherStatus } from "../actors/gatling/dispatcher.ts";
import type { Bus } from "../bus/bus.ts";
import type { NatsServer } from "../bus/nats-server/server.ts";
import type { Publisher } from "../bus/publisher.ts";
import type { ResultStore } from "../bus/results.ts";
import type { Trouble } from "../protocols/trouble.ts";
import type { TopologyKeeper } from "./topology-keeper.ts";

export interface TroublesOptions {
  readonly bus: Bus;
  readonly publisher: Publisher;
  readonly results: ResultStore;
  readonly server: NatsServer | undefined;
  readonly keeper: TopologyKeeper | undefined;
  readonly dispatcher: () => DispatcherStatus | undefined;
}

/** Below this the next burst of tasks can fill a disk. */
const SCARCE_BYTES = 256 * 2 ** 20;
/** What is stored at all is stored within seconds; an election takes up to ten. */
const UNANSWERED_MS = 15_000;
const MIB = 2 ** 20;

export class Troubles {
  readonly #options: TroublesOptions;

  constructor(options: TroublesOptions) {
    this.#options = options;
  }

  /** Why nothing can be stored through this node's broker now. */
  get blocking(): string | undefined {
    return this.#options.server?.trouble;
  }

  list(): readonly Trouble[] {
    return [...this.#ofServer(), ...this.#ofBus(), ...this.#ofResults(), ...this.#ofDispatcher()];
  }

  #ofServer(): readonly Trouble[] {
    const { server, keeper } = this.#options;
    const troubles: Trouble[] = [];
    if (server?.trouble !== undefined) {
      const remedy = "make room, or what it names; it is started again by itself as soon as that helps";
      troubles.push({ what: server.trouble, remedy });
    } else if (server?.freeBytes !== undefined && server.freeBytes < SCARCE_BYTES) {
      const left = Math.floor(server.freeBytes / MIB);
      const remedy = "make room before nothing can be stored: `vgas doctor` names the directory";
      troubles.push({ what: `the disk of the nats-server has ${left} MiB left`, remedy });
    }
    if (keeper?.trouble !== undefined)
      troubles.push({
        what: keeper.trouble,
        remedy: "it is made again by itself; the node's log says why if it is not",
      });
    return troubles;
  }

  #ofBus(): readonly Trouble[] {
    const { bus, publisher } = this.#options;
    const oldest = bus.state === "connected" ? publisher.oldest : undefined;
    if (oldest === undefined || oldest.ms < UNANSWERED_MS) return [];
    const what = `${oldest.subject} has not been stored for ${Math.round(oldest.ms / 1_000)} s: no answer comes`;
    return [{ what, remedy: "look at the log and the disk of the nats-server" }];
  }

  #ofResults(): readonly Trouble[] {
    const { refused } = this.#options.results;
    if (refused === 0) return [];
    const what = `the results stream refuses ${refused} result${refused === 1 ? "" : "s"} of this node, which keeps them`;
    return [{ what, remedy: "shorten --results-ttl, or raise the stream's size cap" }];
  }

  #ofDispatcher(): readonly Trouble[] {
    const trouble = this.#options.dispatcher()?.trouble;
    if (trouble === undefined) return [];
    return [{ what: `its dispatcher pulls nothing: ${trouble}`, remedy: "mend that: it goes on by itself then" }];
  }
}
