/** Lets an operator drain a node from elsewhere: `vgas drain NODE`, as the first SIGTERM would. */
import type { Bus, BusMessage } from "../bus/bus.ts";
import { decode, encode } from "../bus/codec/codec.ts";
import { VgasError } from "../protocols/errors.ts";
import { drain as drainSchema } from "../protocols/host-messages.ts";
import type { Logger } from "../protocols/logger.ts";
import type { Names } from "../protocols/subjects.ts";
import { toWireError } from "../protocols/wire-error.ts";
import type { Stop } from "./stopping.ts";

export interface DrainingOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly hostId: string;
  /** Its end takes the nats-server with it that everybody is connected to. */
  readonly runsBroker: boolean;
  readonly logger: Logger;
  /** Drains and ends the node. */
  readonly drain: () => Promise<void>;
}

/** Answers `{v: 1}` when it begins, not when it is over: the connection is part of what ends. */
export async function serveDrain(options: DrainingOptions): Promise<Stop> {
  const { bus, names, hostId, logger, drain } = options;
  const subscription = await bus.subscribe(names.host(hostId, "drain"), (message) => {
    try {
      check(message, options);
    } catch (error) {
      bus.respond(message, encode({ error: toWireError(error) }));
      return;
    }
    logger.info({ host: hostId }, "an operator drains the node");
    bus.respond(message, encode({ v: 1 }));
    drain().catch((error: unknown) => logger.error({ error: String(error) }, "the node did not drain"));
  });
  return () => subscription.unsubscribe();
}

/** @throws VgasError INVALID, CONFIG */
function check(message: BusMessage, { runsBroker, hostId }: DrainingOptions): void {
  const parsed = drainSchema.safeParse(message.data.length === 0 ? { v: 1 } : decode(message.data));
  if (!parsed.success) throw new VgasError("INVALID", "a drain is {v: 1, force?} or nothing");
  if (runsBroker && parsed.data.force !== true)
    throw new VgasError(
      "CONFIG",
      `node ${hostId} runs the nats-server that every node is connected to: draining it ends the swarm; --force does it all the same`,
    );
}
