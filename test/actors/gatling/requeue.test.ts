/** What is recorded of tasks that go back, on a real nats-server. */
import { expect, onTestFinished, test } from "vitest";
import { Requeue } from "../../../src/actors/gatling/requeue.ts";
import type { TaskInHand } from "../../../src/actors/gatling/task-in-hand.ts";
import { silentLogger } from "../../../src/protocols/logger.ts";
import { Dealing } from "../../support/dealing.ts";
import { useNats } from "../../support/nats.ts";
import { eventually, until } from "../../support/wait.ts";

const nats = useNats();
const lane = { pool: "default", kind: "echo" };

/** Of a first delivery, by a dispatcher that is to go on with it after `revision` of its record. */
function inHand(id: string): TaskInHand {
  return { id, attempt: 1, revision: 0, ack: "_INBOX.nobody", array: undefined } as unknown as TaskInHand;
}

test("of a task that the broker may have brought to another it is not recorded that nobody runs it", async () => {
  const { bus, publisher, attempts, names } = await Dealing.start(nats);
  let nonces = 0;
  const nonce = (): string => `n${nonces++}`;
  const requeue = new Requeue({ bus, publisher, attempts, names, nonce, logger: silentLogger });
  onTestFinished(() => until(() => requeue.idle));
  requeue.forgotten(lane, [inHand("s1")]);
  requeue.unstarted(lane, [inHand("s2")]);
  const recorded = (id: string) => eventually(() => attempts.read("default", { id }), `the record of ${id}`);
  expect(await recorded("s1")).toEqual({ v: 1, attempts: 0, by: "n0" });
  expect(await recorded("s2")).toEqual({ v: 1, attempts: 0, ended: true, by: "n1" });
  // Somebody began it: what comes late changes nothing.
  await attempts.write("default", { id: "s3" }, { attempts: 1 });
  requeue.forgotten(lane, [inHand("s3")]);
  await until(() => requeue.idle);
  expect(await attempts.read("default", { id: "s3" })).toEqual({ v: 1, attempts: 1 });
});
