/** When an attempt is repeated, by an agent that runs on a real bus. */
import { expect, test } from "vitest";
import { decode } from "../../../src/bus/codec/codec.ts";
import { systemClock } from "../../../src/protocols/clock.ts";
import { TaskError } from "../../../src/protocols/errors.ts";
import { Dealing } from "../../support/dealing.ts";
import { useNats } from "../../support/nats.ts";

const nats = useNats();

test("a failed attempt waits as long as its agent says", async () => {
  const swarm = await Dealing.start(nats);
  const { bus, names } = swarm;
  const retrying = new Promise<unknown>((resolve) => {
    bus.subscribeNow(names.event("default", "b1"), ({ data }) => resolve(decode(data)));
  });
  await bus.flush();
  await swarm.host("h", {
    kind: "patient",
    backoff: { initialMs: 70_000, factor: 3, maxMs: 3_600_000, jitter: 0 },
    run: () => {
      throw new TaskError("LATER", "as ordered");
    },
  });
  await swarm.dispatcher();
  await swarm.submit("patient", { id: "b1" });
  expect(await retrying).toMatchObject({ type: "retrying", attempt: 1, data: { delayMs: 70_000 } });
});

test("the clock of a host that is an hour ahead does not hold up what it gives back", async () => {
  const swarm = await Dealing.start(nats);
  await swarm.hostBy({ ...systemClock, now: () => Date.now() + 3_600_000 }, "ahead", {
    kind: "brief",
    backoff: { initialMs: 10, jitter: 0 },
    run: (_, { attempt }) => {
      if (attempt < 3) throw new TaskError("LATER", "as ordered");
      return attempt;
    },
  });
  await swarm.dispatcher();
  await swarm.submit("brief", { id: "b2" });
  expect(await swarm.result("b2")).toMatchObject({ status: "ok", output: 3, attempt: 3 });
});
