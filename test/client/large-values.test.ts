/** Inputs, contexts and outputs that do not fit into a message, through a swarm in this process. */
import { randomBytes } from "node:crypto";
import { expect, onTestFinished, test } from "vitest";
import { encode } from "../../src/bus/codec/codec.ts";
import { encodeJson } from "../../src/bus/codec/json.ts";
import { Objects } from "../../src/bus/objects.ts";
import { streamInfo } from "../../src/bus/topology.ts";
import { connect } from "../../src/client.ts";
import { TaskError } from "../../src/protocols/errors.ts";
import { MAX_OBJECT_BYTES } from "../../src/protocols/limits.ts";
import type { TaskResult } from "../../src/protocols/result.ts";
import { objectStream } from "../../src/protocols/subjects.ts";
import { Dealing } from "../support/dealing.ts";
import { useNats } from "../support/nats.ts";
import { eventually, rejection } from "../support/wait.ts";

const nats = useNats();

async function swarm() {
  const dealing = await Dealing.start(nats);
  const { bus, names, publisher } = dealing;
  await dealing.host(
    "h",
    { kind: "echo", slots: 4, run: ({ input }) => input },
    { kind: "length", slots: 4, run: ({ input, context }) => [lengthOf(input), lengthOf(context)] },
    { kind: "make", slots: 4, run: ({ input }) => new Uint8Array(Number(input)) },
    { kind: "fail", slots: 4, run: () => Promise.reject(new TaskError("NO", "never", { retryable: false })) },
    {
      kind: "hang",
      slots: 4,
      run: (_, ctx) => new Promise((_resolve, reject) => ctx.signal.addEventListener("abort", reject)),
    },
  );
  await dealing.dispatcher();
  const client = await connect({ url: nats.url, prefix: names.prefix });
  onTestFinished(() => client.close());
  /** Bytes that a store holds, but for what marks removals. */
  const kept = async (store: "inputs" | "outputs"): Promise<number> => {
    const state = await streamInfo(bus, objectStream(names.objectStores[store]));
    return state === undefined || state.bytes < 50_000 ? 0 : state.bytes;
  };
  return { dealing, client, kept, objects: new Objects(bus, publisher, names) };
}

function lengthOf(value: unknown): number {
  return value instanceof Uint8Array || typeof value === "string" || Array.isArray(value) ? value.length : 0;
}

async function emptied(kept: () => Promise<number>): Promise<void> {
  await eventually(async () => ((await kept()) === 0 ? true : undefined), "the store to be empty");
}

test.each([1_048_577, 20 * 1_048_576, MAX_OBJECT_BYTES - 5])(
  "%i bytes go to the behaviour and come back as if they were in the messages; the input is removed with the result",
  async (size) => {
    const { client, kept } = await swarm();
    const input = randomBytes(size);
    const task = await client.submit<Uint8Array>("echo", input);
    const { status, output, outputRef } = await task.result();
    expect([status, outputRef]).toEqual(["ok", undefined]);
    expect(Buffer.from(output ?? []).equals(input)).toBe(true);
    await emptied(() => kept("inputs"));
    const listed: TaskResult[] = [];
    for await (const result of client.results({ pool: "default", maxOutputBytes: size })) listed.push(result);
    expect(listed[0]).toMatchObject({ id: task.id, outputRef: { bytes: size + 5 } });
  },
);

test("a byte more than 64 MiB is TOO_LARGE for a submission and INVALID_OUTPUT for a behaviour", async () => {
  const { client, kept } = await swarm();
  const submitted = client.submit("echo", new Uint8Array(MAX_OBJECT_BYTES - 4));
  expect(await rejection(submitted)).toMatchObject({
    code: "TOO_LARGE",
    message: expect.stringContaining("the input"),
  });
  const made = await (await client.submit("make", MAX_OBJECT_BYTES - 4)).result();
  expect(made).toMatchObject({ status: "failed", attempt: 1, error: { code: "INVALID_OUTPUT" } });
  expect([await kept("inputs"), await kept("outputs")]).toEqual([0, 0]);
});

test("submitMany mixes small and large, a context too, and results() of the batch fetches outputs", async () => {
  const { client, kept } = await swarm();
  const large = "x".repeat(1_500_000);
  const values = new Array(300_000).fill(1);
  const batch = await client.submitMany("length", ["small", large, values, "last"], { context: large });
  const lengths = await Promise.all(batch.map(async (handle) => (await handle.result()).output));
  expect(lengths).toEqual([
    [5, 1_500_000],
    [1_500_000, 1_500_000],
    [300_000, 1_500_000],
    [4, 1_500_000],
  ]);
  const made = await client.submitMany("make", [1_200_000, 10]);
  const sizes: number[] = [];
  for await (const { output } of made.results()) sizes.push(lengthOf(output));
  expect(sizes.sort((a, b) => a - b)).toEqual([10, 1_200_000]);
  await emptied(() => kept("inputs"));
});

test("inputs of a failed task stay for its replay; those of an expired one go", async () => {
  const { client, kept } = await swarm();
  const failed = await client.submit("fail", new Uint8Array(1_100_000));
  expect((await failed.result()).status).toBe("failed");
  expect(await kept("inputs")).toBeGreaterThan(1_100_000);
  const { client: other, kept: keptOfOther, dealing } = await swarm();
  const late = await other.submit("later", new Uint8Array(1_100_000), { expiresMs: 1 });
  expect(await keptOfOther("inputs")).toBeGreaterThan(1_100_000);
  await dealing.host("h2", { kind: "later", run: () => 1 });
  expect((await late.result()).status).toBe("expired");
  await emptied(() => keptOfOther("inputs"));
});

test("inputs of a cancelled task go, whether it waited or ran", async () => {
  const { client, kept } = await swarm();
  const large = new Uint8Array(1_100_000);
  const running = await client.submit("hang", large, { timeoutMs: 60_000 });
  await eventually(async () => ((await running.status()).state === "running" ? true : undefined), "the run");
  await running.cancel();
  expect((await running.result()).status).toBe("cancelled");
  await emptied(() => kept("inputs"));
  const waiting = await client.submit("nobody", large);
  expect(await waiting.cancel()).toMatchObject({ state: "cancelled" });
  await emptied(() => kept("inputs"));
});

test("a reference that cannot be resolved fails the task for good, and says why", async () => {
  const { dealing, objects, client } = await swarm();
  const ref = await objects.put("inputs", encode("content"));
  const output = await objects.put("outputs", encode("content"));
  const cases = {
    foreign: [output, "INVALID", "inputRef.bucket must be"],
    missing: [{ ...ref, name: "gone" }, "OBJECT_MISSING", "there is none of that name"],
    changed: [{ ...ref, sha256: "0".repeat(64) }, "OBJECT_MISSING", "its content is another"],
    huge: [{ ...ref, bytes: MAX_OBJECT_BYTES + 1 }, "TOO_LARGE", "at most 67108864"],
    rubbish: ["rubbish", "INVALID", "inputRef.bucket must be"],
  } as const;
  for (const [id, [inputRef, code, message]] of Object.entries(cases)) {
    await dealing.submit("echo", { id, inputRef });
    const result = await client.handle("default", id).result();
    expect(result).toMatchObject({
      status: "failed",
      attempt: 1,
      error: { code, message: expect.stringContaining(message) },
    });
  }
  await dealing.submit("echo", { id: "both", input: 1, inputRef: ref });
  expect(await client.handle("default", "both").result()).toMatchObject({ error: { code: "INVALID" } });
  await dealing.submit("echo", { id: "good", inputRef: ref });
  expect(await client.handle("default", "good").result()).toMatchObject({ status: "ok", output: "content" });
});

test("of a task that is JSON, objects are JSON", async () => {
  const { dealing, objects, client, kept } = await swarm();
  const input = { text: "ä".repeat(600_000) };
  const inputRef = await objects.put("inputs", encodeJson(input));
  const body = encodeJson({ id: "json", inputRef });
  await dealing.publisher.publish(dealing.names.task("default", "echo"), body);
  const stored = await dealing.result("json");
  expect(stored.outputRef?.bucket).toBe(dealing.names.objectStores.outputs);
  const content = await objects.get(stored.outputRef as NonNullable<typeof stored.outputRef>);
  expect(JSON.parse(Buffer.from(content).toString())).toEqual(input);
  expect((await client.handle("default", "json").result()).output).toEqual(input);
  await emptied(() => kept("inputs"));
});

test("an output that is gone is OBJECT_MISSING for who asks for it, and a reference in a list", async () => {
  const { client, dealing, objects } = await swarm();
  const task = await client.submit("make", 1_100_000);
  const stored = await dealing.result(task.id);
  await objects.remove(stored.outputRef as NonNullable<typeof stored.outputRef>);
  expect(await rejection(task.result())).toMatchObject({ code: "OBJECT_MISSING" });
  const listed: TaskResult[] = [];
  for await (const result of client.results({ pool: "default" })) listed.push(result);
  expect(listed).toMatchObject([{ outputRef: { bytes: 1_100_005 } }]);
});

test("a submission that is refused leaves nothing in the store", async () => {
  const { client, kept, dealing } = await swarm();
  const large = new Uint8Array(1_100_000);
  const extra = { extra: { more: new Uint8Array(1_100_000) } };
  expect(await rejection(client.submit("echo", large, extra))).toMatchObject({ code: "TOO_LARGE" });
  const mixed = client.submitMany("echo", [large, () => 1]);
  expect(await rejection(mixed)).toMatchObject({ code: "INVALID", message: expect.stringContaining("task 1: ") });
  await emptied(() => kept("inputs"));
  const refusal = encode({ error: { code: "RESOURCE_LIMIT", message: "none is free", retryable: true } });
  await dealing.bus.subscribe(dealing.names.now("default", "echo"), (message) => {
    dealing.bus.respond(message, refusal);
  });
  expect(await rejection(client.now("echo", large))).toMatchObject({ code: "RESOURCE_LIMIT" });
  await emptied(() => kept("inputs"));
});

test("reading an input counts for the timeout, and a stopped attempt does not begin the behaviour", async () => {
  const { client } = await swarm();
  const task = await client.submit("hang", new Uint8Array(1_100_000), { timeoutMs: 300, maxAttempts: 1 });
  expect(await task.result()).toMatchObject({ status: "failed", error: { code: "TIMEOUT" } });
});
