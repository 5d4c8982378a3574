import { expect, test } from "vitest";
import { decode } from "../../src/bus/codec/codec.ts";
import type { Stored, StoreOptions } from "../../src/bus/publisher.ts";
import { MessageWriter, PartialSubmitError } from "../../src/client/many-tasks.ts";
import { Submitter, type SubmitterParts } from "../../src/client/submitter.ts";
import { MAX_BODY_BYTES, writeTask } from "../../src/client/task-message.ts";
import { VgasError } from "../../src/protocols/errors.ts";
import { MAX_DEPTH } from "../../src/protocols/limits.ts";
import { Names } from "../../src/protocols/subjects.ts";
import { nested } from "../bus/codec/values.ts";
import { rejection } from "../support/wait.ts";

const LANE = { pool: "default", kind: "echo" };

function written(inputs: readonly unknown[], array: boolean, perMessage: number): MessageWriter {
  const writer = new MessageWriter(array, perMessage);
  for (const input of inputs) {
    const from = writer.writer.length;
    expect(writeTask(writer.writer, LANE, input, {}, undefined)).toBe(true);
    writer.added(from);
  }
  writer.end();
  return writer;
}

test.each([1, 3, 16, 100])("tasks go in order into arrays of %i, and the rest into a last one", (perMessage) => {
  const inputs = Array.from({ length: 250 }, (_, i) => ({ i, text: "ä".repeat(i) }));
  const { messages } = written(inputs, true, perMessage);
  const arrays = messages.map(({ body }) => decode(body) as { input: unknown }[]);
  expect(arrays.flat().map(({ input }) => input)).toEqual(inputs);
  expect(arrays.map(({ length }) => length)).toEqual(messages.map(({ tasks }) => tasks));
  expect(messages.slice(0, -1).every(({ tasks }) => tasks === perMessage)).toBe(true);
});

test("a message is closed before the task that does not fit into it any more", () => {
  const inputs = ["a", "b", "c", "d", "e"].map((letter) => letter.repeat(MAX_BODY_BYTES / 2 - 100));
  const { messages } = written([...inputs, "short"], true, 100);
  expect(messages.map(({ tasks }) => tasks)).toEqual([2, 2, 2]);
  for (const { body } of messages) expect(body.length).toBeLessThanOrEqual(MAX_BODY_BYTES);
  expect(messages.flatMap(({ body }) => decode(body))).toEqual([...inputs, "short"].map((input) => ({ input })));
});

test("a message of its own is the task itself", () => {
  const { messages } = written([1, 2], false, 100);
  expect(messages.map(({ body }) => decode(body))).toEqual([{ input: 1 }, { input: 2 }]);
});

test("a task that is too large for a message is not written, and the others go without it", () => {
  const writer = new MessageWriter(true, 100);
  writeTask(writer.writer, LANE, 1, {}, undefined);
  writer.added(0);
  expect(writeTask(writer.writer, LANE, "x".repeat(MAX_BODY_BYTES), {}, undefined)).toBe(false);
  writer.end();
  expect(writer.messages.map(({ body }) => decode(body))).toEqual([[{ input: 1 }]]);
});

test("the array around a task counts as nesting, as its reader counts it", () => {
  const { messages } = written([nested(MAX_DEPTH - 2)], true, 100);
  expect(decode(messages[0]?.body as Uint8Array)).toEqual([{ input: nested(MAX_DEPTH - 2) }]);
  const { writer } = new MessageWriter(true, 100);
  expect(() => writeTask(writer, LANE, nested(MAX_DEPTH - 1), {}, undefined)).toThrow("nested deeper");
  expect(writer.length).toBe(0);
});

test("of many, those that were stored before the time was over are told with their handles", async () => {
  let sequence = 0;
  const send = (_: string, __: Uint8Array, ___: unknown, done: Stored, { signal }: StoreOptions): void => {
    // Only the first two have an answer.
    if (sequence < 2) done(undefined, { stream: "tasks", sequence: ++sequence, duplicate: false });
    else signal?.addEventListener("abort", () => done(new VgasError("ABORTED", "given up"), undefined));
  };
  const parts = { names: new Names(), publisher: { send }, handles: { waiting: {} } } as unknown as SubmitterParts;
  const options = { array: 1, track: false, submitTimeoutMs: 1 };
  const error = await rejection(new Submitter(parts).many(LANE, ["a", "b", "c"], options));
  expect(error).toBeInstanceOf(PartialSubmitError);
  const { code, message, handles } = error as PartialSubmitError;
  expect(code).toBe("TIMEOUT");
  expect(message).toBe("2 of 3 tasks were stored, then: submitting to default/echo timed out after 1 ms");
  expect(handles.map((handle) => handle?.id)).toEqual(["s1-0", "s2-0", undefined]);
});
