/** P1, P2 and `maxAttempts` over elements that leave their array: whoever dies between two steps, one message runs them. */
import { Kvm } from "@nats-io/kv";
import { beforeAll, describe, expect, test } from "vitest";
import { ElementOwners } from "../../src/bus/element-owners.ts";
import { KvBucket } from "../../src/bus/kv.ts";
import { Publisher } from "../../src/bus/publisher.ts";
import { Names } from "../../src/protocols/subjects.ts";
import { useNats } from "../support/nats.ts";
import { PATIENT } from "../support/publishers.ts";

const nats = useNats();
const names = new Names();
let owners: ElementOwners;
let bucket: KvBucket;

beforeAll(async () => {
  const bus = await nats.bus();
  await new Kvm(bus.native).create(names.buckets.attempts, { history: 1, allow_direct: false });
  bucket = new KvBucket(bus, new Publisher(bus, PATIENT), names.buckets.attempts);
  owners = new ElementOwners(bucket, names);
});

const moved = async (element: string, by?: string) => {
  const first = await owners.move("p", element, 1, by);
  if (first === undefined) throw new Error("it is not its own");
  return first;
};

describe("an element of an array", () => {
  test("goes from the first delivery to a message of its own, and no other message may run it", async () => {
    const first = await moved("s1-0");
    expect(first).toMatchObject({ attempts: 1, as: undefined });
    expect(await owners.settle("p", "s1-0", first, 70)).toBe(true);
    expect(await owners.claim("p", "s1-0", 70)).toBe(true);
    // A repeated publish, and the array that came back.
    expect(await owners.claim("p", "s1-0", 71)).toBe(false);
    expect(await owners.keep("p", "s1-0", "later")).toBe(false);
    expect(await owners.move("p", "s1-0", 5, "later")).toMatchObject({ attempts: 1, as: 70 });
    expect(await owners.settle("p", "s1-0", first, 71)).toBe(true);
    expect(await owners.moved("p", "s1-0")).toMatchObject({ as: 70 });
  });

  test("whose dispatcher died before or after the publish is published again, and the first of its messages to be read runs", async () => {
    await moved("s1-1");
    // Whoever gets the array then.
    const again = await moved("s1-1", "later");
    expect(again).toMatchObject({ attempts: 1, as: undefined });
    expect(await owners.claim("p", "s1-1", 80)).toBe(true);
    expect(await owners.settle("p", "s1-1", again, 81)).toBe(true);
    expect(await owners.claim("p", "s1-1", 81)).toBe(false);
  });

  test("that a later delivery of the array runs is not moved by an earlier one, nor by a message of its own", async () => {
    expect(await owners.moved("p", "s1-2")).toBeUndefined();
    expect(await owners.keep("p", "s1-2", "second")).toBe(true);
    expect(await owners.keep("p", "s1-2", "second")).toBe(true);
    expect(await owners.move("p", "s1-2", 0, undefined)).toBeUndefined();
    expect(await owners.claim("p", "s1-2", 90)).toBe(false);
    expect(await owners.keep("p", "s1-2", "third")).toBe(true);
    expect(await owners.move("p", "s1-2", 1, "second")).toBeUndefined();
    expect(await owners.move("p", "s1-2", 1, "third")).toMatchObject({ attempts: 1 });
  });

  test("that could not be published is its array's again, unless a message of it was read meanwhile", async () => {
    const first = await moved("s1-3");
    await owners.unmove("p", "s1-3", "a");
    expect(await owners.settle("p", "s1-3", first, 95)).toBe(false);
    expect(await owners.claim("p", "s1-3", 95)).toBe(false);
    expect(await owners.keep("p", "s1-3", "b")).toBe(true);
    await moved("s1-3", "b");
    expect(await owners.claim("p", "s1-3", 96)).toBe(true);
    await owners.unmove("p", "s1-3", "b");
    expect(await owners.claim("p", "s1-3", 96)).toBe(true);
  });

  test("whose message is lost is the next one's, unless another has it", async () => {
    expect(await owners.release("p", "s1-7", 90)).toBe(true);
    const first = await moved("s1-7");
    expect(await owners.release("p", "s1-7", 90)).toBe(true);
    await owners.settle("p", "s1-7", first, 90);
    expect(await owners.release("p", "s1-7", 89)).toBe(false);
    expect(await owners.claim("p", "s1-7", 91)).toBe(false);
    expect(await owners.release("p", "s1-7", 90)).toBe(true);
    expect(await owners.claim("p", "s1-7", 91)).toBe(true);
    await owners.keep("p", "s1-8", "later");
    expect(await owners.release("p", "s1-8", 92)).toBe(false);
  });

  test("has one owner, however many want it at once", async () => {
    await moved("s1-4");
    const claims = await Promise.all(Array.from({ length: 20 }, (_, i) => owners.claim("p", "s1-4", 100 + i)));
    expect(claims.filter((won) => won)).toHaveLength(1);
    const kept = await Promise.all([
      ...Array.from({ length: 10 }, (_, i) => owners.keep("p", "s1-5", `d${i}`).then((won) => won && "kept")),
      owners.move("p", "s1-5", 0, undefined).then((won) => won && "moved"),
    ]);
    const both = kept.filter((won) => won !== undefined && won !== false);
    expect(new Set(both).size).toBeGreaterThanOrEqual(1);
    expect((await owners.moved("p", "s1-5")) !== undefined).toBe(kept.includes("moved"));
  });

  test("whose record is gone or rubbish is run all the same", async () => {
    expect(await owners.claim("p", "s1-6", 110)).toBe(true);
    await bucket.put(names.elementKey("p", "s1-7"), Buffer.from([0xc1]));
    expect(await owners.claim("p", "s1-7", 111)).toBe(true);
    expect(await owners.move("p", "s1-7", 2, undefined)).toMatchObject({ attempts: 2 });
    await bucket.delete(names.elementKey("p", "s1-7"));
    expect(await owners.keep("p", "s1-7", "d")).toBe(true);
  });
});
