/**
 * The floor: a worker that takes tasks from the stream itself and does nothing that vgas adds. It pulls, decodes and
 * checks each task as vgas does, stores its result once, and acknowledges after the PubAck. No dispatch, no rotation.
 *
 * Arguments: url, seed, inbox prefix, messages in flight.
 */
import { encode } from "../src/bus/codec/codec.ts";
import { readBody, readTasks } from "../src/bus/codec/task.ts";
import { connectBus } from "../src/bus/connection.ts";
import { Publisher } from "../src/bus/publisher.ts";
import { ackTask, PullSubscription } from "../src/bus/pull.ts";
import { ensureLaneConsumers } from "../src/bus/topology.ts";
import { Names } from "../src/protocols/subjects.ts";
import { parseEnvelope } from "../src/protocols/task.ts";
import { automaticId } from "../src/protocols/tokens.ts";

const [url = "", seed = "", inboxPrefix = "", inFlight = "1024"] = process.argv.slice(2);
const names = new Names();
const lane = { pool: "default", kind: "echo" };
const bus = await connectBus({ url, seed: new TextEncoder().encode(seed), inboxPrefix, name: "floor" });
const publisher = new Publisher(bus);
await ensureLaneConsumers(bus, names, lane);

let open = 0;
const limit = Number(inFlight);
const pull = new PullSubscription(bus, names.streams.tasks, names.consumer(lane), {
  onMessage: (message) => {
    open++;
    const [task] = readTasks(message.data).tasks;
    if (!task?.ok) throw new Error("the floor was given something that is no task");
    const { replyTo } = parseEnvelope(task.fields, lane);
    const { fields } = readBody(task.body);
    const id = automaticId(message.sequence);
    const now = Date.now();
    const result = {
      id,
      ...lane,
      status: "ok",
      output: fields["input"],
      attempt: 1,
      submittedAt: message.timestampMs,
      startedAt: now,
      finishedAt: now,
    };
    const bytes = encode(result);
    publisher.send(names.result(lane.pool, id), bytes, undefined, (error) => {
      if (error) throw error;
      if (replyTo !== undefined) bus.publish(replyTo, bytes);
      ackTask(bus, message.ack);
      open--;
      ask();
    });
  },
  onTrouble: (reason, detail) => {
    throw new Error(`${reason}: ${detail}`);
  },
});

function ask(): void {
  const wanted = limit - open;
  if (wanted > 2 * pull.outstanding) pull.want(wanted);
}

ask();
process.on("SIGTERM", () => process.exit(0));
console.log("ready");
