/** What dispatchers do with elements that are on their way out of an array, as another dispatcher left them (bus/element-owners.ts). */
import { expect, test } from "vitest";
import { streamInfo } from "../../../src/bus/topology.ts";
import type { ElementOwner } from "../../../src/protocols/host-messages.ts";
import { HEADERS } from "../../../src/protocols/subjects.ts";
import { Dealing } from "../../support/dealing.ts";
import { useNats } from "../../support/nats.ts";
import { eventually, until } from "../../support/wait.ts";

const nats = useNats();
const KIND = "hold";

async function open() {
  const swarm = await Dealing.start(nats);
  const { names, bus, attempts } = swarm;
  const began: string[] = [];
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  await swarm.host("h", {
    kind: KIND,
    slots: 20,
    run: async ({ id }) => {
      began.push(id);
      await released;
    },
  });
  /** As another dispatcher left the element. */
  const leave = async (element: string, { by = "other", moved, as }: Omit<ElementOwner, "v">): Promise<void> => {
    const { elements } = attempts;
    if (moved === undefined) await elements.keep("default", element, by);
    else {
      const left = await elements.move("default", element, moved, undefined);
      if (left !== undefined && as !== undefined) await elements.settle("default", element, left, as);
    }
  };
  const copy = (element: string): Promise<number> =>
    swarm.submit(
      KIND,
      { maxAttempts: 1 },
      {
        headers: {
          [HEADERS.taskId]: element,
          [HEADERS.submittedAt]: "1",
          [HEADERS.attempts]: "0",
          [HEADERS.element]: element,
        },
      },
    );
  const messages = async () => {
    const info = await streamInfo(bus, names.streams.tasks);
    return { waiting: info?.messages ?? 0, last: info?.lastSequence ?? 0 };
  };
  const settled = (waiting: number) =>
    eventually(
      async () => ((await messages()).waiting === waiting ? true : undefined),
      `${waiting} messages to be left`,
    );
  return { swarm, began, release: () => release(), leave, copy, messages, settled };
}

test("P1, P2: of the messages of one element one runs, and the others leave the queue while it does", async () => {
  const { swarm, began, release, leave, copy, settled } = await open();
  await leave("s1-0", { moved: 0 });
  await leave("s1-1", { moved: 0 });
  const first = await copy("s1-0");
  for (const element of ["s1-0", "s1-0", "s1-1", "s1-1"]) await copy(element);
  // One that another dispatcher owns, whose message is not here any more: nothing is stored of it, so nothing else may stand for it.
  await leave("s1-2", { moved: 0, as: first - 1 });
  await copy("s1-2");
  // One that was given back to its array.
  await leave("s1-3", {});
  await copy("s1-3");
  await swarm.dispatcher("d1");
  await swarm.dispatcher("d2");
  await settled(2);
  await until(() => began.length >= 2);
  expect([...began].sort()).toEqual(["s1-0", "s1-1"]);
  release();
  await settled(0);
  expect(await swarm.result("s1-0")).toMatchObject({ status: "ok", attempt: 1 });
  expect(await swarm.stored("s1-2")).toBeUndefined();
});

test("an array does not wait for what was moved out of it, and publishes again only what nobody owns", async () => {
  const { swarm, leave, messages, settled } = await open();
  // So late that nothing of it begins here.
  const later = { notBefore: Date.now() + 3_600_000 };
  const sequence = await swarm.submit(KIND, new Array(4).fill(later));
  await leave(`s${sequence}-0`, { moved: 0, as: sequence + 1_000 });
  await leave(`s${sequence}-1`, { moved: 2 });
  await swarm.dispatcher("d1");
  // Not the array with two of them, of which there are as many.
  await eventually(async () => ((await messages()).last >= sequence + 3 ? true : undefined), "three to be published");
  await settled(3);
  expect((await messages()).last).toBe(sequence + 3);
  // It takes with it what counted by then.
  const record = await eventually(
    () => swarm.attempts.read("default", { id: `s${sequence}-1` }),
    "its message to be looked at",
  );
  expect(record).toMatchObject({ attempts: 2 });
});

test("what a later delivery of the array has is left to it, and the message with it", async () => {
  const { swarm, leave, messages, settled } = await open();
  const later = { notBefore: Date.now() + 3_600_000 };
  const kept = await swarm.submit(KIND, new Array(2).fill(later));
  await leave(`s${kept}-0`, {});
  await swarm.dispatcher("d1");
  await settled(2);
  expect((await messages()).last).toBe(kept + 1);
});

test("an element that cannot be published stays with its array, and comes back with it", async () => {
  const { swarm, messages, settled } = await open();
  const body = new Uint8Array(983_040 - 40);
  const sequence = await swarm.submit(KIND, [{ notBefore: Date.now() + 3_600_000, input: body }]);
  await swarm.dispatcher("d1");
  await eventually(
    // Whoever has only the first delivery is told that it is not its own.
    async () => ((await swarm.attempts.elements.move("default", `s${sequence}-0`, 0, undefined)) ? undefined : true),
    "it to be the array's again",
  );
  await settled(1);
  expect((await messages()).last).toBe(sequence);
});
