import { expect, test } from "vitest";
import { admit } from "../../../src/actors/guests/rules.ts";
import { encode } from "../../../src/bus/codec/codec.ts";
import { decodeMirrored, readTasks } from "../../../src/bus/codec/task.ts";
import { VgasError } from "../../../src/protocols/errors.ts";
import { guestMessageId, guestOfId, isGuestName, isOwnId } from "../../../src/protocols/guests.ts";

const ANN = "gaaaaaaaaa";
const LANE = { pool: "default", kind: "echo" };

/** Whether the rules admit these bytes; anything but a typed refusal fails the test. */
function admits(data: Uint8Array): boolean {
  try {
    admit(ANN, LANE, { data, header: () => undefined });
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(VgasError);
    expect((error as VgasError).code).toBe("INVALID");
    return false;
  }
}

/** Ids of the tasks as whoever runs them decodes them, from all of the bytes. */
function idsOf(data: Uint8Array): unknown[] {
  const { tasks } = readTasks(data);
  return tasks.map(({ body }) => (decodeMirrored(body).value as Record<string, unknown>)["id"]);
}

function msgpack(pairs: readonly (readonly [key: Uint8Array, value: string])[]): Uint8Array {
  return Buffer.concat([Uint8Array.of(0x80 | pairs.length), ...pairs.flatMap(([key, value]) => [key, encode(value)])]);
}

const ID = encode("id");
/** The same two letters, in a form that is longer than need be. */
const LONG_ID = Uint8Array.of(0xd9, 2, 0x69, 0x64);

test.each([
  ["the foreign one last", `${ANN}-1`, "s1"],
  ["the own one last", "s1", `${ANN}-1`],
])("a task with two ids is judged by the one that it will run under: %s", (_what, one, other) => {
  const bodies = [
    msgpack([
      [ID, one],
      [ID, other],
    ]),
    msgpack([
      [ID, one],
      [LONG_ID, other],
    ]),
    Buffer.from(`{"id":"${one}","id":"${other}"}`),
    Buffer.from(`{"id":"${one}","\\u0069d":"${other}"}`),
    Buffer.from(`\ufeff [{"id":"${one}", "i\\u0064":"${other}"}]`),
  ];
  for (const body of bodies) {
    expect(idsOf(body), body.toString()).toEqual([other]);
    expect(admits(body), body.toString()).toBe(isOwnId(ANN, other));
  }
});

test("whatever bytes are admitted decode to tasks with ids of the guest's own", () => {
  // A generator of its own, so that a failure can be repeated.
  let seed = 20_261_123;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const valid = [
    encode({ id: `${ANN}-1`, input: { id: "s1" }, replyTo: `_INBOX.${ANN}.x` }),
    encode([{ id: `${ANN}-1` }, { id: `${ANN}-2`, kind: "echo" }]),
    Buffer.from(`{"id":"${ANN}-1","input":[1,{"id":"s1"}]}`),
    Buffer.from(`[{"id":"${ANN}-1"},{"id":"${ANN}-2"}]`),
  ];
  let admitted = 0;
  for (let round = 0; round < 20_000; round++) {
    const bytes = Uint8Array.from(valid[random(valid.length)] as Uint8Array);
    for (let changes = 1 + random(3); changes > 0; changes--) bytes[random(bytes.length)] = random(256);
    const data = random(4) === 0 ? bytes.subarray(0, random(bytes.length)) : bytes;
    if (!admits(data)) continue;
    admitted++;
    expect(idsOf(data).every((id) => isOwnId(ANN, id))).toBe(true);
  }
  expect(admitted).toBeGreaterThan(100);
});

test("an id belongs to at most one guest, whose name holds no dash", () => {
  expect(guestOfId(`${ANN}-a-b`)).toBe(ANN);
  expect(["plain", "-x", "s1"].map(guestOfId)).toEqual([undefined, undefined, undefined]);
  expect([ANN, "a-b", "a.b", "", 7].map(isGuestName)).toEqual([true, false, false, false, false]);
  expect(() => admit("a-b", LANE, { data: encode({ id: "a-b-1" }), header: () => undefined })).toThrowError(/dash/);
});

test("message ids of two guests are never the same", () => {
  expect(guestMessageId("ga", "b.c")).toBe("ga.b.c");
  // A guest's name holds no dot, so the first one ends it.
  expect(guestMessageId("ga", "x")).not.toBe(guestMessageId("gb", "x"));
  for (const bad of ["", "a b", "ä", "x".repeat(101), "a\r\nb"])
    expect(() => guestMessageId("ga", bad)).toThrowError(/message id/);
});

test.each(["inputRef", "contextRef"])(
  "a task that names an object by %s is refused, alone and in an array",
  (field) => {
    const ref = { bucket: "vgas_inputs", name: "x", bytes: 1, sha256: "0".repeat(64) };
    const task = { id: `${ANN}-1`, [field]: ref };
    expect([admits(encode(task)), admits(encode([task])), admits(Buffer.from(JSON.stringify(task)))]).toEqual([
      false,
      false,
      false,
    ]);
    expect(admits(encode({ ...task, [field]: null }))).toBe(true);
  },
);
