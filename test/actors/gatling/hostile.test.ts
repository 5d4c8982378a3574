/** P1 and P9 against what a client can do on purpose or by mistake: dispatchers and hosts of this process, a real nats-server. */
import { expect, test } from "vitest";
import { TaskFinder } from "../../../src/actors/gatling/task-finder.ts";
import type { Bus, BusMessage } from "../../../src/bus/bus.ts";
import { encode } from "../../../src/bus/codec/codec.ts";
import { ACK_PREFIX, HEADERS, Names } from "../../../src/protocols/subjects.ts";
import { Dealing } from "../../support/dealing.ts";
import { useNats } from "../../support/nats.ts";
import { eventually } from "../../support/wait.ts";

const nats = useNats();

function holding(slots: number) {
  const began: string[] = [];
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const agent = {
    kind: "hold",
    slots,
    run: async ({ id }: { readonly id: string }) => {
      began.push(id);
      await released;
      return "held";
    },
  };
  return { agent, began, release: () => release() };
}

test("P1: a task whose headers ask for an answer that no dispatcher would write has its result like any other", async () => {
  const swarm = await Dealing.start(nats);
  const { agent, release } = holding(8);
  release();
  await swarm.host("h", agent);
  await swarm.dispatcher();
  const inbox = swarm.bus.inbox();
  const rubbish = [
    { [HEADERS.nowReply]: "no.inbox", [HEADERS.nowUntil]: "1" },
    { [HEADERS.nowReply]: "_INBOX.*", [HEADERS.nowUntil]: "1" },
    { [HEADERS.nowReply]: inbox, [HEADERS.nowUntil]: "" },
    { [HEADERS.nowReply]: inbox, [HEADERS.nowUntil]: "-1" },
    { [HEADERS.nowReply]: inbox, [HEADERS.nowUntil]: "0.5" },
    { [HEADERS.nowReply]: inbox },
  ];
  for (const headers of rubbish) {
    const sequence = await swarm.submit("hold", {}, { headers, priority: "high" });
    expect(await swarm.result(`s${sequence}`)).toMatchObject({ status: "ok" });
  }
});

test("a task that is to be taken at once and has expired by then is refused, and leaves no result", async () => {
  const swarm = await Dealing.start(nats);
  const { agent, release } = holding(8);
  release();
  await swarm.host("h", agent);
  await swarm.dispatcher();
  const subject = swarm.names.now("default", "hold");
  const ask = async (body: unknown) => (await swarm.ask(subject, body)) as { id?: string; error?: { code: string } };
  await eventually(async () => (await ask({})).id, "an agent to take it");
  for (let i = 0; i < 20; i++) {
    const { id, error } = await ask({ id: `x${i}`, expiresMs: 1 });
    if (id === undefined) {
      expect(error?.code).toBe("RESOURCE_LIMIT");
      expect(await swarm.stored(`x${i}`)).toBeUndefined();
    }
  }
});

test("elements that start later are not published again while others of their array still run", async () => {
  const swarm = await Dealing.start(nats);
  const { names, bus } = swarm;
  const { agent, began, release } = holding(4);
  await swarm.host("h", agent);
  const first = await swarm.dispatcher("d1");
  const sequence = await swarm.submit("hold", [{}, { notBefore: Date.now() + 3_600_000 }]);
  await eventually(async () => (began.length === 1 ? true : undefined), "the first element to run");
  await eventually(async () => ((await swarm.waiting()) === 2 ? true : undefined), "the second to wait by itself");
  await first.stop(0);
  let asked = 0;
  await bus.subscribe(names.host("h", "running"), () => void asked++);
  await swarm.dispatcher("d2");
  // The array's first delivery is over; without this its next one comes by ack_wait.
  const ack = `${ACK_PREFIX}${names.streams.tasks}.${names.consumer({ pool: "default", kind: "hold" })}.1.${sequence}.1.0.0`;
  bus.publish(ack, Buffer.from("-NAK"));
  await eventually(async () => (asked >= 3 ? true : undefined), "the array to come back while its element runs");
  expect(await swarm.waiting()).toBe(2);
  release();
  expect(await swarm.result(`s${sequence}-0`)).toMatchObject({ status: "ok" });
  expect(began).toHaveLength(1);
});

test("P1: a second task of the same id that starts much later does not hold up the first one's next attempt", async () => {
  const swarm = await Dealing.start(nats);
  const { agent, began } = holding(4);
  const host = await swarm.host("a", agent);
  await swarm.dispatcher();
  await swarm.submit("hold", { id: "twice" });
  await eventually(async () => (began.length === 1 ? true : undefined), "the task to run");
  await swarm.submit("hold", { id: "twice", notBefore: Date.now() + 3_600_000 });
  await eventually(async () => await swarm.attempts.read("default", "twice"), "the second one to be postponed");
  const other = holding(4);
  other.release();
  await host.kill();
  await swarm.host("b", other.agent);
  expect(await swarm.result("twice")).toMatchObject({ status: "ok", host: "b" });
});

test("P9: a question about a task is short, and what is said beside it is not kept", async () => {
  const swarm = await Dealing.start(nats);
  await swarm.dispatcher();
  const large = [
    Buffer.alloc(900_000),
    encode({ kind: "x".repeat(100_000) }),
    Buffer.from(`{"a":"${"x".repeat(9_000)}"}`),
  ];
  for (const ask of [swarm.names.status("default", "t"), swarm.names.cancel("default", "t")])
    for (const body of large) expect(await swarm.ask(ask, body)).toMatchObject({ error: { code: "INVALID" } });
});

test("the tasks of one message are found by reading it once, however many are asked about", async () => {
  const names = new Names();
  let reads = 0;
  const data = encode(Array.from({ length: 256 }, () => ({})));
  const headers: Record<string, string> = {
    "Nats-Subject": names.task("default", "k"),
    "Nats-Sequence": "7",
    "Nats-Time-Stamp": "2026-01-01T00:00:00Z",
  };
  const message = {
    status: 0,
    get data() {
      reads++;
      return data;
    },
    header: (name: string) => headers[name],
  } as unknown as BusMessage;
  const finder = new TaskFinder({ request: async () => message } as unknown as Bus, names);
  const ids = Array.from({ length: 256 }, (_, i) => `s7-${i}`);
  const { tasks } = await finder.find("default", ids, { own: false });
  expect([...tasks.keys()].sort()).toEqual([...ids].sort());
  expect(reads).toBeLessThan(10);
});
