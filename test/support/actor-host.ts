import type { ActorDeadLetter, InspectionEvent } from "../../src/actors/runtime/inspection.ts";
import { ActorSystem, type ActorSystemOptions } from "../../src/actors/runtime/system.ts";
import type { Bus } from "../../src/bus/bus.ts";
import { KvBucket } from "../../src/bus/kv.ts";
import { Publisher } from "../../src/bus/publisher.ts";
import { ensureTopology } from "../../src/bus/topology.ts";
import { systemClock } from "../../src/protocols/clock.ts";
import { TOPOLOGY_DEFAULTS } from "../../src/protocols/streams.ts";
import { Names } from "../../src/protocols/subjects.ts";
import type { TestBusOptions, TestNats } from "./nats.ts";
import { RecordingLogger } from "./recording-logger.ts";

/** An actor system on a connection of its own, with everything it said. */
export class ActorHost {
  readonly system: ActorSystem;
  readonly bus: Bus;
  readonly names: Names;
  readonly logger = new RecordingLogger();
  readonly events: InspectionEvent[] = [];
  readonly deadLetters: ActorDeadLetter[] = [];
  readonly #waiting = new Set<() => void>();

  private constructor(bus: Bus, names: Names, hostId: string, options: Partial<ActorSystemOptions>) {
    this.bus = bus;
    this.names = names;
    const owners = new KvBucket(bus, new Publisher(bus), names.buckets.owners);
    const { logger } = this;
    const fixed = { bus, names, owners, hostId, run: `${hostId}-1`, clock: systemClock, random: Math.random, logger };
    this.system = new ActorSystem({ ...fixed, ...options });
    this.system.inspect((event) => {
      this.events.push(event);
      for (const wake of this.#waiting) wake();
    });
    this.system.onDeadLetter((letter) => {
      this.deadLetters.push(letter);
      for (const wake of this.#waiting) wake();
    });
  }

  /** `options` replace what the host would give its system. */
  static async start(
    nats: TestNats,
    hostId: string,
    options: Partial<ActorSystemOptions> & { readonly connection?: TestBusOptions; readonly prefix?: string } = {},
  ): Promise<ActorHost> {
    const { connection, prefix, ...rest } = options;
    const bus = await nats.bus({ user: hostId, ...connection });
    const names = new Names(prefix);
    await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
    return new ActorHost(bus, names, hostId, rest);
  }

  /** Resolves when `check` holds, looked at after each event and dead letter. */
  when(check: () => boolean): Promise<void> {
    if (check()) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        if (!check()) return;
        this.#waiting.delete(wake);
        resolve();
      };
      this.#waiting.add(wake);
    });
  }

  /** Resolves at the first event of that type and actor, past or to come. */
  async event(type: InspectionEvent["type"], name: string): Promise<InspectionEvent> {
    const find = (): InspectionEvent | undefined =>
      this.events.find((event) => event.type === type && event.name === name);
    await this.when(() => find() !== undefined);
    const found = find();
    if (found === undefined) throw new Error("unreachable");
    return found;
  }
}
