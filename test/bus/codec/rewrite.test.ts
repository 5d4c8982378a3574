import { encode as independentEncode } from "@msgpack/msgpack";
import fc from "fast-check";
import { expect, test } from "vitest";
import { rewriteTask } from "../../../src/bus/codec/rewrite.ts";
import { readBody } from "../../../src/bus/codec/task.ts";
import { codeOf, common, hex, utf8 } from "./values.ts";

const DROPPED = ["id", "replyTo"];
const ADDED = { replayOf: "first" };

const others = fc.dictionary(fc.string({ maxLength: 12 }), common, { noNullPrototype: true });
const known = fc.record(
  { id: common, replyTo: fc.string(), replayOf: fc.string() },
  { requiredKeys: [], noNullPrototype: true },
);

function expected(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { id: _, replyTo: __, ...rest } = fields;
  return { ...rest, ...ADDED };
}

test("drops and adds fields of a msgpack task, and leaves the others as they are", () => {
  fc.assert(
    fc.property(others, known, (other, envelope) => {
      const task = independentEncode({ ...other, ...envelope });
      const { fields } = readBody(task);
      const rewritten = rewriteTask(task, { dropped: DROPPED, added: ADDED });
      expect(readBody(rewritten)).toEqual({ encoding: "msgpack", fields: expected(fields) });
    }),
    { numRuns: 100 },
  );
});

test("drops and adds fields of a JSON task, and leaves the others as they are", () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string({ maxLength: 12 }), fc.jsonValue(), { noNullPrototype: true }),
      fc.record({ id: fc.jsonValue(), replyTo: fc.string() }, { requiredKeys: [], noNullPrototype: true }),
      fc.constantFrom(undefined, 1, "\t"),
      (other, envelope, space) => {
        const task = utf8(JSON.stringify({ ...other, ...envelope }, undefined, space));
        const { fields } = readBody(task);
        const rewritten = rewriteTask(task, { dropped: DROPPED, added: ADDED });
        expect(readBody(rewritten)).toEqual({ encoding: "json", fields: expected(fields) });
      },
    ),
    { numRuns: 100 },
  );
});

test.each([
  { json: "{}", now: '{"replayOf":"first"}' },
  { json: ' \ufeff {"id":1}', now: '{"replayOf":"first"}' },
  { json: '{"input":12345678901234567890,"id":"a"}', now: '{"input":12345678901234567890,"replayOf":"first"}' },
  { json: '{"\\u0069d":"a","x":"}\\",\\"id\\":{"}', now: '{"x":"}\\",\\"id\\":{","replayOf":"first"}' },
  { json: '{"replayOf":"b","id":[{"id":1}],"x":[1, {"id":2}]}', now: '{"x":[1, {"id":2}],"replayOf":"first"}' },
])("$json becomes $now", ({ json, now }) => {
  expect(Buffer.from(rewriteTask(utf8(json), { dropped: DROPPED, added: ADDED })).toString()).toBe(now);
});

test("keeps numbers, keys that are no text and maps of every size as they were written", () => {
  const forms = hex("83 a2 6964 01 05 cb 3ff0000000000000 a1 78 d3 0000000000000001");
  expect(rewriteTask(forms, { dropped: DROPPED, added: {} })).toEqual(
    Buffer.from(hex("82 05 cb 3ff0000000000000 a1 78 d3 0000000000000001")),
  );
  for (const size of [14, 15, 16, 65_536]) {
    const fields = Object.fromEntries(Array.from({ length: size }, (_, i) => [`f${i}`, i]));
    const rewritten = rewriteTask(independentEncode(fields), { dropped: DROPPED, added: ADDED });
    expect(readBody(rewritten).fields).toEqual({ ...fields, ...ADDED });
  }
});

test.each([
  ["nothing", new Uint8Array()],
  ["an array", hex("91 01")],
  ["a JSON array", utf8("[1]")],
  ["a map that ends too early", hex("82 a1 78 01")],
  ["bytes behind the map", hex("80 01")],
  ["JSON that is none", utf8('{"a":1,}')],
])("refuses %s", (_, bytes) => {
  expect(codeOf(() => rewriteTask(bytes, { dropped: DROPPED, added: ADDED }))).toBe("INVALID");
});
