import fc from "fast-check";
import { expect, test } from "vitest";
import { MAX_LINE_BYTES, readLines } from "../../src/cli/lines.ts";

async function* inChunks(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let from = 0;
  for (const size of sizes) {
    yield bytes.subarray(from, from + size);
    from += size;
  }
  yield bytes.subarray(from);
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<readonly (string | undefined)[]> {
  const lines: (string | undefined)[] = [];
  for await (const { number, bytes } of readLines(chunks)) {
    expect(number).toBe(lines.length + 1);
    lines.push(bytes && new TextDecoder().decode(bytes));
  }
  return lines;
}

test("gives the same lines however the bytes are cut", async () => {
  const text = fc.array(
    fc.string({ unit: "grapheme", maxLength: 8 }).map((line) => line.replaceAll("\n", "")),
    { maxLength: 8 },
  );
  await fc.assert(
    fc.asyncProperty(text, fc.array(fc.nat(9), { maxLength: 20 }), async (lines, sizes) => {
      const bytes = new TextEncoder().encode(lines.map((line) => `${line}\n`).join(""));
      expect(await collect(inChunks(bytes, sizes))).toEqual(lines);
    }),
  );
});

test("the last line needs no newline", async () => {
  expect(await collect(inChunks(Buffer.from("a\n\nb"), [1]))).toEqual(["a", "", "b"]);
  expect(await collect(inChunks(new Uint8Array(0), []))).toEqual([]);
});

test("a line that is too long is told without being kept, and the next one is read", async () => {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    const chunk = Buffer.alloc(64 * 1024, "x");
    for (let sent = 0; sent <= MAX_LINE_BYTES; sent += chunk.length) yield chunk;
    yield Buffer.from("\nnext\n");
  }
  expect(await collect(chunks())).toEqual([undefined, "next"]);
});
