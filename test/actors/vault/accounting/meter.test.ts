import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createMeter } from "../../../../src/actors/vault/accounting/meter.ts";
import type { Tokens } from "../../../../src/actors/vault/accounting/token-tally.ts";
import * as answers from "./answers.ts";

/** What a model may write: any character, and those that JSON is made of more often. */
const character = fc.oneof(
  fc.constantFrom(...'"\\{}[]:,', "usage", "\n"),
  fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
);
const written = fc.array(character).map((all) => all.join(""));

const JSON_TYPE = "application/json; charset=utf-8";
const SSE_TYPE = "text/event-stream";
const encode = (text: string) => new TextEncoder().encode(text);

function read(type: string, pieces: readonly (string | Uint8Array)[]): Tokens | undefined {
  const meter = createMeter(type);
  for (const piece of pieces) meter.push(typeof piece === "string" ? encode(piece) : piece);
  return meter.end();
}

const CHAT: Tokens = {
  model: "gpt-4o-2024-08-06",
  inputTokens: 1_200,
  outputTokens: 345,
  cachedTokens: 1_024,
  cacheWriteTokens: 0,
  longCacheWriteTokens: 0,
  final: true,
};
const RESPONSE: Tokens = {
  ...CHAT,
  model: "gpt-5.4-2026-03-05",
  inputTokens: 12_033,
  outputTokens: 44,
  cachedTokens: 11_904,
};
const MESSAGE: Tokens = {
  model: "claude-sonnet-4-5-20250929",
  inputTokens: 21 + 188_086 + 1_000,
  outputTokens: 393,
  cachedTokens: 1_000,
  cacheWriteTokens: 188_000,
  longCacheWriteTokens: 86,
  final: true,
};
const done = { ...answers.response, usage: answers.responseUsage };
const begun = { ...answers.response, output: [], usage: null };
const responseEvents = (type: string) => [
  { type: "response.created", response: begun },
  { type: "response.in_progress", response: begun },
  { type: "response.output_text.delta", delta: answers.HOSTILE_TEXT },
  { type, response: done },
];

const FORMS: [name: string, type: string, text: string, tokens: Tokens][] = [
  ["a chat completion", JSON_TYPE, JSON.stringify(answers.chat), CHAT],
  ["an indented chat completion", JSON_TYPE, JSON.stringify(answers.chat, null, 2), CHAT],
  ["a stream of chat completions", SSE_TYPE, `${answers.events(answers.chatChunks)}data: [DONE]\n\n`, CHAT],
  ["a stream with CRLF", SSE_TYPE, `${answers.events(answers.chatChunks, "\r\n")}data: [DONE]\r\n\r\n`, CHAT],
  ["a stream with CR", SSE_TYPE, answers.events(answers.chatChunks, "\r"), CHAT],
  ["a response", JSON_TYPE, JSON.stringify(done), RESPONSE],
  ["a completed stream of a response", SSE_TYPE, answers.events(responseEvents("response.completed")), RESPONSE],
  ["an incomplete stream of a response", SSE_TYPE, answers.events(responseEvents("response.incomplete")), RESPONSE],
  ["a failed stream of a response", SSE_TYPE, answers.events(responseEvents("response.failed")), RESPONSE],
  ["a message", JSON_TYPE, JSON.stringify({ ...answers.message, usage: answers.messageUsage }), MESSAGE],
  ["a stream of a message", SSE_TYPE, answers.events(answers.messageEvents), MESSAGE],
];

describe("createMeter", () => {
  it.each(FORMS)("reads %s", (_, type, text, tokens) => {
    expect(read(type, [text])).toEqual(tokens);
  });

  it.each(FORMS)("reads %s wherever its bytes are split", (_, type, text, tokens) => {
    const bytes = encode(text);
    expect(
      read(
        type,
        Array.from(bytes, (byte) => Uint8Array.of(byte)),
      ),
    ).toEqual(tokens);
    for (let at = 0; at <= bytes.length; at++)
      if (!same(read(type, [bytes.subarray(0, at), bytes.subarray(at)]), tokens)) expect.fail(`split at byte ${at}`);
  });

  it("reads embeddings, of whose output there is none", () => {
    expect(read(JSON_TYPE, [JSON.stringify(answers.embeddings)])).toEqual({
      ...{ model: "text-embedding-3-small", inputTokens: 8, outputTokens: 0, cachedTokens: 0 },
      ...{ cacheWriteTokens: 0, longCacheWriteTokens: 0, final: true },
    });
  });

  it.each([
    ["only a total", { total_tokens: 70 }, { inputTokens: 70, outputTokens: 0 }],
    ["a total and an output", { total_tokens: 70, completion_tokens: 20 }, { inputTokens: 50, outputTokens: 20 }],
    [
      "a gateway's mixture",
      { prompt_tokens: 100, completion_tokens: 5, cache_read_input_tokens: 60, cache_creation_input_tokens: 30 },
      { inputTokens: 100, cachedTokens: 60, cacheWriteTokens: 30 },
    ],
    [
      "OpenAI's writes to its cache",
      { input_tokens: 100, output_tokens: 5, input_tokens_details: { cached_tokens: 10, cache_write_tokens: 80 } },
      { inputTokens: 100, cachedTokens: 10, cacheWriteTokens: 80, longCacheWriteTokens: 0 },
    ],
    [
      "writes to Anthropic's cache without their durations",
      { input_tokens: 1, output_tokens: 5, cache_creation_input_tokens: 30, cache_creation: null },
      { inputTokens: 31, cacheWriteTokens: 30, longCacheWriteTokens: 0 },
    ],
    [
      "more cached than there was",
      { prompt_tokens: 10, prompt_tokens_details: { cached_tokens: 50, cache_write_tokens: 50 } },
      { inputTokens: 10, cachedTokens: 10, cacheWriteTokens: 0 },
    ],
  ])("reads %s", (_, usage, tokens) => {
    expect(read(JSON_TYPE, [JSON.stringify({ usage })])).toMatchObject(tokens);
  });

  it("knows what a stream has told when it broke off, and that it was not the end", () => {
    const [start] = answers.messageEvents;
    expect(read(SSE_TYPE, [answers.events([start as object])])).toEqual({ ...MESSAGE, outputTokens: 1, final: false });
    expect(read(SSE_TYPE, [answers.events(answers.chatChunks.slice(0, 2))])).toBeUndefined();
    expect(read(SSE_TYPE, [answers.events(responseEvents("response.completed").slice(0, 3))])).toBeUndefined();
    expect(read(JSON_TYPE, [JSON.stringify(answers.chat).slice(0, -2)])).toBeUndefined();
  });

  it("reads an event that a later one with less follows, of several lines, behind comments and a byte order mark", () => {
    const lines = [
      "\ufeffdata:{",
      'data: "usage": {"input_tokens": 12',
      'data:, "output_tokens": 3}}',
      "",
      ": ping",
      "database: 1",
      'data: {"usage": {"input_tokens": 0, "output_tokens": 2}}',
      "",
      "",
    ];
    expect(read(SSE_TYPE, [lines.join("\n")])).toMatchObject({ inputTokens: 12, outputTokens: 3 });
    expect(read(SSE_TYPE, ['data: {"usage":{"input_tokens":1\ndata: 2}}\n\n'])).toBeUndefined();
  });

  it("begins anew with each event, whatever garbage the one before was", () => {
    const text = `data: {"a":"never ends\n\ndata: [[[[{{{\n\ndata: }}}]]]\n\n${answers.events(answers.chatChunks)}`;
    expect(read(SSE_TYPE, [text])).toEqual(CHAT);
  });

  it.each([-1, -1e300, "12", null, true, [5], {}, Number.NaN])("ignores a count of %j", (count) => {
    const usage = { prompt_tokens: count, completion_tokens: 4, prompt_tokens_details: { cached_tokens: count } };
    expect(read(JSON_TYPE, [JSON.stringify({ usage })])).toMatchObject({
      inputTokens: 0,
      outputTokens: 4,
      cachedTokens: 0,
    });
  });

  it("bounds counts that cannot be", () => {
    const text = '{"usage":{"input_tokens":1e18,"output_tokens":1e400,"cache_read_input_tokens":900000000000000000}}';
    expect(read(JSON_TYPE, [text])).toMatchObject({
      inputTokens: 1_000_000_000,
      outputTokens: 0,
      cachedTokens: 1_000_000_000,
    });
    expect(read(JSON_TYPE, ['{"usage":{"output_tokens":2.2}}'])).toMatchObject({ outputTokens: 3 });
  });

  it.each([
    '{"usage":5}',
    '{"usage":null}',
    '{"usage":[{"input_tokens":1}]}',
    '{"usage":{}}',
    '[{"usage":{"input_tokens":1}}]',
    '{"a":{"usage":{"input_tokens":1}}}',
    '{"response":[{"usage":{"input_tokens":1}}]}',
    '{"usage":{"__proto__":{"input_tokens":1}}}',
    '{"\\"usage":{"input_tokens":1}}',
    '"usage"',
    "usage:{input_tokens:1}",
    "",
    "}}}]",
    '{"usage":{"input_tokens":1',
  ])("finds nothing in %j", (text) => {
    expect(read(JSON_TYPE, [text])).toBeUndefined();
  });

  it("takes an escaped name for what it is, and no long one for a model", () => {
    const model = "m".repeat(257);
    expect(read(JSON_TYPE, [`{"us\\u0061ge":{"input_tokens":7},"model":"${model}"}`])).toEqual({
      ...{
        inputTokens: 7,
        outputTokens: 0,
        cachedTokens: 0,
        cacheWriteTokens: 0,
        longCacheWriteTokens: 0,
        final: true,
      },
    });
  });

  it("leaves other types alone, and reads the ones that are JSON", () => {
    const text = JSON.stringify(answers.chat);
    for (const type of ["", "text/html", "application/octet-stream", "audio/mpeg"])
      expect(read(type, [text])).toBeUndefined();
    for (const type of ["Application/JSON", "application/problem+json", "application/x-ndjson"])
      expect(read(type, [text])).toEqual(CHAT);
  });

  it("never throws, and finds the usage behind any text that a model may have written", () => {
    fc.assert(
      fc.property(written, fc.uint8Array({ maxLength: 200 }), fc.nat(50), (text, garbage, at) => {
        for (const type of [JSON_TYPE, SSE_TYPE]) read(type, [garbage, encode(text)]);
        const body = encode(JSON.stringify({ text, [text]: { text: [text] }, usage: { prompt_tokens: 5 } }));
        const expected = text === "usage" ? undefined : 5;
        if (expected !== undefined)
          expect(read(JSON_TYPE, [body.subarray(0, at), body.subarray(at)])?.inputTokens).toBe(expected);
      }),
    );
  });

  it("reads bodies and lines of 64 MiB with no more memory than small ones", () => {
    const piece = encode(`${'a\\"{[,:\\\\é'.repeat(6_000)}`);
    const numbers = encode("0.0123,-4.5e-7,[1],".repeat(4_000));
    const count = 600;
    const before = process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed;
    for (const [type, head, tail] of [
      [JSON_TYPE, "", ""],
      [SSE_TYPE, "data: ", "\n\n"],
    ] as const) {
      const meter = createMeter(type);
      meter.push(encode(`${head}{"text":"`));
      for (let i = 0; i < count; i++) meter.push(piece);
      meter.push(encode('","data":['));
      for (let i = 0; i < count; i++) meter.push(numbers);
      // A value of a wanted name that is no usage is dropped when it becomes too long.
      meter.push(encode('0],"model":"'));
      for (let i = 0; i < 50; i++) meter.push(piece);
      meter.push(encode(`","usage":{"prompt_tokens":3,"completion_tokens":4}}${tail}`));
      expect(meter.end()).toMatchObject({ inputTokens: 3, outputTokens: 4 });
      expect(meter.end()?.model).toBeUndefined();
    }
    const after = process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed;
    expect(piece.length * count + numbers.length * count).toBeGreaterThan(64 * 1024 * 1024);
    expect(after - before).toBeLessThan(48 * 1024 * 1024);
  });
});

function same(a: Tokens | undefined, b: Tokens): boolean {
  return JSON.stringify(a) === JSON.stringify({ ...a, ...b });
}
