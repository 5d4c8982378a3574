import { encode as independentEncode } from "@msgpack/msgpack";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decode, encode } from "../../../src/bus/codec/codec.ts";
import {
  decodeMirrored,
  encodeMirrored,
  type ParsedTask,
  readBody,
  readEncoding,
  readTasks,
} from "../../../src/bus/codec/task.ts";
import { MAX_ARRAY_TASKS, MAX_DEPTH, MAX_VALUES } from "../../../src/protocols/limits.ts";
import { ENVELOPE_FIELDS } from "../../../src/protocols/task.ts";
import { rounds } from "../../support/rounds.ts";
import { HOSTILE } from "./hostile.ts";
import { codeOf, common, hex, mutated, nested, utf8 } from "./values.ts";

const envelope = fc.record(
  {
    id: fc.string({ minLength: 1, maxLength: 20 }),
    kind: fc.constant("echo"),
    timeoutMs: fc.integer(),
    expiresMs: fc.integer(),
    maxAttempts: fc.oneof(fc.integer(), fc.constant(null)),
    replyTo: fc.string(),
  },
  { requiredKeys: [], noNullPrototype: true },
);
const task = fc
  .tuple(
    envelope,
    fc.record({ input: common, context: common, other: common }, { requiredKeys: [], noNullPrototype: true }),
  )
  .map(([fields, rest]) => ({ ...rest, ...fields }));
const jsonTask = fc.tuple(envelope, fc.jsonValue()).map(([fields, input]) => ({ input, ...fields }));

function fieldsOf(parsed: ParsedTask | undefined): unknown {
  return parsed?.ok ? parsed.fields : "no task";
}

function envelopeOf(value: object): object {
  return Object.fromEntries(
    Object.entries(value).filter(([key]) => (ENVELOPE_FIELDS as readonly string[]).includes(key)),
  );
}

describe("readTasks", () => {
  test("reads the envelope of one task and leaves the body as it came", () => {
    fc.assert(
      fc.property(task, (value) => {
        const data = independentEncode(value);
        const { array, tasks } = readTasks(data);
        expect(array).toBe(false);
        expect(tasks).toEqual([{ ok: true, encoding: "msgpack", fields: envelopeOf(value), body: data }]);
        expect(readBody(tasks[0]?.body as Uint8Array)).toEqual({ encoding: "msgpack", fields: value });
      }),
      { numRuns: rounds(100, 300) },
    );
  });

  test("reads arrays, each element's body a view on the message", () => {
    fc.assert(
      fc.property(fc.array(task, { minLength: 1, maxLength: 30 }), (values) => {
        const data = independentEncode(values);
        const { array, tasks } = readTasks(data);
        expect(array).toBe(true);
        expect(tasks.map(fieldsOf)).toEqual(values.map(envelopeOf));
        expect(tasks.map(({ body }) => decode(body))).toEqual(values);
        for (const { body } of tasks) expect(body.buffer).toBe(data.buffer);
      }),
    );
  });

  test("reads JSON, one and many, each element's body its own text", () => {
    fc.assert(
      fc.property(
        fc.array(jsonTask, { minLength: 1, maxLength: 10 }),
        fc.constantFrom("", " ", "\n\t"),
        (values, indent) => {
          const many = readTasks(utf8(`\uFEFF ${JSON.stringify(values, null, indent)} \n`));
          expect(many.array).toBe(true);
          expect(many.tasks.map(({ encoding }) => encoding)).toEqual(values.map(() => "json"));
          expect(many.tasks.map(fieldsOf)).toEqual(values.map(envelopeOf));
          expect(many.tasks.map(({ body }) => Buffer.from(body).toString())).toEqual(
            (JSON.parse(JSON.stringify(values, null, indent)) as unknown[]).map((_, i) =>
              elementText(values, indent, i),
            ),
          );
          const one = readTasks(utf8(JSON.stringify(values[0], null, indent)));
          expect(one.array).toBe(false);
          expect(one.tasks.map(fieldsOf)).toEqual([envelopeOf(values[0] as object)]);
        },
      ),
    );
  });

  test("takes the last of duplicate fields, as full decoding does", () => {
    const data = hex("82 a2 6964 a1 61 a2 6964 a1 62");
    expect(fieldsOf(readTasks(data).tasks[0])).toEqual({ id: "b" });
    expect(readBody(data).fields).toEqual({ id: "b" });
    expect(fieldsOf(readTasks(utf8('{"id":"a","id":"b"}')).tasks[0])).toEqual({ id: "b" });
  });

  test("reports an element that is no map and reads the others", () => {
    for (const data of [
      encode([{ id: "a" }, 7, [{}], null, { id: "b" }]),
      utf8('[{"id":"a"}, 7 , [{}],null,{"id":"b"}]'),
    ]) {
      const { tasks } = readTasks(data);
      expect(tasks.map(({ ok }) => ok)).toEqual([true, false, false, false, true]);
      expect(tasks.map((parsed) => (parsed.ok ? parsed.fields : parsed.error.message))).toEqual([
        { id: "a" },
        "element 1 of the array is no map",
        "element 2 of the array is no map",
        "element 3 of the array is no map",
        { id: "b" },
      ]);
      expect(tasks.map((parsed) => (parsed.ok ? "" : parsed.error.code))).toEqual([
        "",
        "INVALID",
        "INVALID",
        "INVALID",
        "",
      ]);
      expect(tasks.map(({ body }) => decodeAnything(body))).toEqual([{ id: "a" }, 7, [{}], null, { id: "b" }]);
    }
  });

  test("reports envelope fields that are containers as empty ones", () => {
    const value = { id: { a: 1 }, kind: [1, 2], timeoutMs: new Date(0), replyTo: Uint8Array.of(1), input: 1 };
    expect(fieldsOf(readTasks(encode(value)).tasks[0])).toEqual({ ...value, id: {}, kind: [], input: undefined });
  });

  test("reads no field that is only inherited", () => {
    expect(fieldsOf(readTasks(utf8('{"__proto__": {"id": "x"}}')).tasks[0])).toEqual({});
    expect(fieldsOf(readTasks(hex("81 a9 5f5f70726f746f5f5f 81 a2 6964 a1 78")).tasks[0])).toEqual({});
  });

  test.each([
    ["empty array", encode([]), utf8(" [ ] ")],
    [
      "array of one element too many",
      encode(new Array(MAX_ARRAY_TASKS + 1).fill({})),
      utf8(`[${"{},".repeat(MAX_ARRAY_TASKS)}{}]`),
    ],
    [
      "depth beyond the limit",
      hex(`81 a5 696e707574 ${"91".repeat(MAX_DEPTH)} c0`),
      utf8(`{"a":${"[".repeat(MAX_DEPTH)}${"]".repeat(MAX_DEPTH)}}`),
    ],
    ["trailing bytes", Buffer.concat([encode({ id: "a" }), hex("00")]), utf8('{"id":"a"} 1')],
    ["cut off", encode({ id: "abcdef" }).subarray(0, -1), utf8('[{"id":"a"}')],
    ["no bytes and only white space", new Uint8Array(0), utf8("  \n ")],
    ["a scalar", encode("text"), utf8('"text"')],
  ])("refuses with INVALID: %s", (_, msgpack, json) => {
    expect(codeOf(() => readTasks(msgpack))).toBe("INVALID");
    expect(codeOf(() => readTasks(json))).toBe("INVALID");
  });

  test("takes a task nested exactly as deep as allowed", () => {
    const input = nested(MAX_DEPTH - 1);
    for (const data of [encode({ input }), utf8(JSON.stringify({ input }))]) {
      expect(readBody(readTasks(data).tasks[0]?.body as Uint8Array).fields).toEqual({ input });
    }
  });

  test("takes an array of exactly as many elements as allowed", () => {
    expect(readTasks(encode(new Array(MAX_ARRAY_TASKS).fill({ id: "a" }))).tasks).toHaveLength(MAX_ARRAY_TASKS);
    expect(readTasks(utf8(`[${"{},".repeat(MAX_ARRAY_TASKS - 1)}{}]`)).tasks).toHaveLength(MAX_ARRAY_TASKS);
  });

  test("allows each element of an array as many values as a task of its own", () => {
    // The list itself is the entry of its task.
    const task = encode({ input: new Array(MAX_VALUES - 1).fill(1) });
    const { tasks } = readTasks(Buffer.concat([hex("92"), task, task]));
    expect(tasks.map(({ body }) => readBody(body).fields["input"])).toEqual([
      new Array(MAX_VALUES - 1).fill(1),
      new Array(MAX_VALUES - 1).fill(1),
    ]);
    const tooMany = Buffer.concat([hex("81 a5 696e707574 dd 00 03 0d 40"), new Uint8Array(MAX_VALUES)]);
    expect(codeOf(() => readTasks(tooMany))).toBe("INVALID");
    expect(codeOf(() => readTasks(Buffer.concat([hex("92"), task, tooMany])))).toBe("INVALID");
  });

  test.each(Object.keys(HOSTILE))("refuses hostile bytes, alone and inside a task (P9): %s", (name) => {
    const bytes = HOSTILE[name] as Uint8Array;
    expect(codeOf(() => readTasks(bytes))).toBe("INVALID");
    expect(codeOf(() => readBody(bytes))).toBe("INVALID");
    for (const field of ["a5 696e707574", "a2 6964"]) {
      expect(codeOf(() => readTasks(Buffer.concat([hex(`81 ${field}`), bytes])))).toBe("INVALID");
      expect(codeOf(() => readTasks(Buffer.concat([hex(`92 80 81 ${field}`), bytes])))).toBe("INVALID");
    }
  });

  test("ends in tasks or in INVALID for any bytes, and every task it gives decodes later (P9)", () => {
    const messages = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      mutated(task.map((value) => encode(value))),
      mutated(fc.array(task, { maxLength: 5 }).map((values) => encode(values))),
      mutated(fc.array(jsonTask, { maxLength: 5 }).map((values) => utf8(JSON.stringify(values)))),
      mutated(jsonTask.map((value) => utf8(JSON.stringify(value)))),
    );
    let tasksSeen = 0;
    fc.assert(
      fc.property(messages, (data) => {
        const verdict = codeOf(() => readTasks(data));
        expect(["none", "INVALID"]).toContain(verdict);
        if (verdict !== "none") return;
        for (const parsed of readTasks(data).tasks) {
          if (!parsed.ok) continue;
          expect(readBody(parsed.body).encoding).toBe(parsed.encoding);
          tasksSeen++;
        }
      }),
      { numRuns: rounds(1_000, 2_000) },
    );
    expect(tasksSeen).toBeGreaterThan(100);
  });

  test("refuses a message that is cut off at any byte", () => {
    for (const value of [
      { id: "a", input: { list: [1, "two", 3.5], bin: Uint8Array.of(1) }, timeoutMs: 70_000 },
      [{ id: "a" }, { input: "b" }],
    ]) {
      const data = encode(value);
      for (let end = 0; end < data.length; end++)
        expect(codeOf(() => readTasks(data.subarray(0, end)))).toBe("INVALID");
    }
  });
});

describe("readBody", () => {
  test("refuses what is no map", () => {
    for (const value of [null, 1, "text", [{}], Uint8Array.of(1), new Date(0)]) {
      expect(codeOf(() => readBody(encode(value)))).toBe("INVALID");
    }
    expect(codeOf(() => readBody(utf8("[{}]")))).toBe("INVALID");
  });
});

describe("mirrored encoding", () => {
  test("answers in the encoding that was asked in", () => {
    for (const data of [encode({ big: 2n ** 60n }), utf8('{"big": 1152921504606846976}')]) {
      const { encoding, value } = decodeMirrored(data);
      expect(encoding).toBe(readEncoding(data));
      expect(value).toEqual({ big: 2n ** 60n });
      const answer = encodeMirrored(value, encoding);
      expect(readEncoding(answer)).toBe(encoding);
      expect(decodeMirrored(answer).value).toEqual({ big: encoding === "json" ? "1152921504606846976" : 2n ** 60n });
    }
  });
});

function elementText(values: readonly unknown[], indent: string, index: number): string {
  const whole = JSON.stringify([values[index]], null, indent);
  return whole.slice(1, -1).trim();
}

function decodeAnything(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return decode(bytes);
  }
}
