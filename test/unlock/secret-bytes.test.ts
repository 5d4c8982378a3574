import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import type { Secret } from "../../src/bus/sealed/secret.ts";
import { MAX_SECRET_BYTES } from "../../src/protocols/vault/operations.ts";
import { readSecretFile, readSecretStream, type SecretForm, secretOf } from "../../src/unlock/secret-bytes.ts";
import { rejection } from "../support/wait.ts";

const CANARY = "sk-canary";

function text(secret: Secret): string {
  return secret.use((bytes) => bytes.toString());
}

function read(content: string | Uint8Array, form: SecretForm): string {
  return text(secretOf(Buffer.from(content), form, "the key"));
}

function file(content: string | Uint8Array, mode = 0o600): string {
  const dir = mkdtempSync(join(tmpdir(), "vgas-secret-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, "secret");
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

async function* chunks(...parts: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* parts;
}

test("one line end is removed, and nothing else", () => {
  for (const form of ["bytes", "line", "key"] as const) {
    expect(["abc", "abc\n", "abc\r\n"].map((content) => read(content, form))).toEqual(["abc", "abc", "abc"]);
  }
  expect(read(" pass phrase ", "line")).toBe(" pass phrase ");
  expect(read("pass wörd", "line")).toBe("pass wörd");
  expect(read("abc\n\n", "bytes")).toBe("abc\n");
  expect(read("abc\r", "bytes")).toBe("abc\r");
});

test.each([
  { form: "bytes", content: "\n", complaint: "is empty" },
  { form: "line", content: "", complaint: "is empty" },
  { form: "line", content: `${CANARY}\nb`, complaint: "has more than one line" },
  { form: "line", content: `${CANARY}\n\n`, complaint: "has more than one line" },
  { form: "line", content: `${CANARY}\0`, complaint: "holds a control character" },
  { form: "line", content: `${CANARY}\x7f`, complaint: "holds a control character" },
  { form: "key", content: `${CANARY}\tb`, complaint: "holds a control character" },
  { form: "key", content: `${CANARY}é`, complaint: "not ASCII" },
  { form: "key", content: ` ${CANARY}`, complaint: "begins or ends with a space" },
  { form: "key", content: `${CANARY} `, complaint: "begins or ends with a space" },
  { form: "bytes", content: CANARY.repeat(500), complaint: "more than 4096 bytes" },
] as const)("$complaint, of the form $form", ({ form, content, complaint }) => {
  let error: unknown;
  try {
    read(content, form);
  } catch (thrown) {
    error = thrown;
  }
  expect(String(error)).toContain(complaint);
  expect(String(error)).not.toContain(CANARY);
});

test("the longest secret is taken with its line end, from a file and from a stream", async () => {
  const longest = "k".repeat(MAX_SECRET_BYTES);
  expect(text(await readSecretFile(file(`${longest}\r\n`), "key", "the key"))).toBe(longest);
  expect(text(await readSecretStream(chunks(Buffer.from(`${longest}\r\n`)), "key", "the key"))).toBe(longest);
  for (const content of [`${longest}k`, `${longest}kk\n`, longest.repeat(3)]) {
    const tooLarge = { code: "TOO_LARGE" };
    expect(await rejection(readSecretFile(file(content), "key", "the key"))).toMatchObject(tooLarge);
    expect(await rejection(readSecretStream(chunks(Buffer.from(content)), "key", "the key"))).toMatchObject(tooLarge);
  }
});

test("a stream gives the same however it is cut, and what it came in is overwritten", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.nat(200), async (bytes, at) => {
      fc.pre(bytes.some((byte) => byte !== 0) && bytes.at(-1) !== 0x0a);
      const parts = [Buffer.from(bytes.subarray(0, at)), Buffer.from(bytes.subarray(at))];
      const secret = await readSecretStream(chunks(...parts), "bytes", "the key");
      expect(secret.use((own) => own.equals(bytes))).toBe(true);
      expect(parts.every((part) => part.every((byte) => byte === 0))).toBe(true);
    }),
  );
});

test("the buffer a secret was taken from is overwritten, also where it is refused", () => {
  const [good, bad] = [Buffer.from("good"), Buffer.from("b\0d")];
  secretOf(good, "line", "it");
  expect(() => secretOf(bad, "line", "it")).toThrow("control character");
  expect(Buffer.concat([good, bad])).toEqual(Buffer.alloc(7));
});

test.each(["640", "604", "666"])("a file of mode %s is refused with the command that mends it", async (mode) => {
  const path = file("abc", Number.parseInt(mode, 8));
  expect(await rejection(readSecretFile(path, "line", "the key"))).toMatchObject({
    code: "CONFIG",
    message: expect.stringContaining(`chmod 600 '${path}'`),
  });
  expect(text(await readSecretFile(path, "line", "the key", { guarded: true }))).toBe("abc");
});

test("a stream that never ends is given up when it is told to", async () => {
  const reading = new AbortController();
  const never = new PassThrough();
  const given = rejection(readSecretStream(never, "bytes", "the key", reading.signal));
  reading.abort();
  expect(await given).toMatchObject({ code: "ABORTED" });
  expect(await rejection(readSecretStream(never, "bytes", "the key", AbortSignal.abort()))).toMatchObject({
    code: "ABORTED",
  });
});
