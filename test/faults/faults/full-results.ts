/** The stream of results is at its size cap: results are refused and kept, and nothing is begun until there is room. */
import { setTimeout as pause } from "node:timers/promises";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { Names } from "../../../src/protocols/subjects.ts";
import type { Fault } from "../fault.ts";
import { moment } from "../history.ts";
import { between } from "../random.ts";
import type { NodeMember, World } from "../world.ts";

const STREAM = new Names().streams.results;
/** Room for a few more results, bytes. */
const ROOM_BYTES = 4_096;

export const FULL_RESULTS: Fault = {
  name: "full-results",
  worlds: ["server"],
  reaches: ["result.refused"],
  strike: async (world, random) => {
    const refused = world.passed("result.refused");
    const struckAt = moment();
    world.record({ type: "struck", at: struckAt, fault: "full-results" });
    await withStreams(world, async (streams) => {
      const { config, state } = await streams.streams.info(STREAM);
      await streams.streams.update(STREAM, { max_bytes: state.bytes + between(random, 0, ROOM_BYTES) });
      try {
        await world.until("a result to be refused", () => world.passed("result.refused") > refused);
        await world.until("dispatchers to stop", () => world.dispatchers.every(isFull));
        await pause(between(random, 0, 3_000));
      } finally {
        await streams.streams.update(STREAM, { max_bytes: config.max_bytes });
      }
      const stored = world.results;
      await world.until("results to be stored again", () => world.results > stored + 20);
      await world.until("dispatchers to go on", () => !world.dispatchers.some(isFull));
    });
    world.record({ type: "healed", at: moment(), fault: "full-results" });
  },
};

/** Whether it has stopped, as it said last. */
function isFull(dispatcher: NodeMember): boolean {
  const log = dispatcher.log();
  return log.lastIndexOf("the results stream is full") > log.lastIndexOf("the results stream has room again");
}

/** Streams belong to whoever may do anything: as an operator, past the nodes. */
async function withStreams(world: World, work: (streams: JetStreamManager) => Promise<void>): Promise<void> {
  const [broker] = world.brokers;
  if (broker === undefined) throw new Error("the world has no broker");
  const connection = await connect({ servers: broker.url });
  try {
    await work(await jetstreamManager(connection));
  } finally {
    await connection.close();
  }
}
