import fc from "fast-check";
import { expect, test } from "vitest";
import { LineEditor } from "../../src/cli/line-editor.ts";
import { MAX_SECRET_BYTES } from "../../src/protocols/vault/operations.ts";

/** What the line is after `keys`, fed in pieces that are cut where `cuts` says. */
function typed(keys: string | Uint8Array, cuts: readonly number[] = []): { line: string; ending: string | undefined } {
  const editor = new LineEditor();
  const bytes = Buffer.from(keys);
  let from = 0;
  for (const size of [...cuts, bytes.length]) {
    const { ending } = editor.take(bytes.subarray(from, from + size));
    if (ending !== undefined) return { line: editor.line().toString(), ending };
    from += size;
  }
  return { line: editor.line().toString(), ending: undefined };
}

test.each([
  { what: "enter ends the line", keys: "abc\r", line: "abc", ending: "enter" },
  { what: "so does a newline", keys: "abc\n", line: "abc", ending: "enter" },
  { what: "Ctrl-D ends a line that has something", keys: "abc\x04", line: "abc", ending: "enter" },
  { what: "Ctrl-D at the beginning is the end of the input", keys: "\x04", line: "", ending: "end" },
  { what: "Ctrl-C interrupts", keys: "abc\x03", line: "abc", ending: "interrupt" },
  { what: "Ctrl-C interrupts inside a special key too", keys: "\x1b[\x03", line: "", ending: "interrupt" },
  { what: "backspace takes a character", keys: "abx\x7fc\r", line: "abc", ending: "enter" },
  { what: "also the other one", keys: "abx\bc\r", line: "abc", ending: "enter" },
  { what: "of several bytes, whole", keys: "aé😀\x7f\x7f\r", line: "a", ending: "enter" },
  { what: "backspace at the beginning does nothing", keys: "\x7f\x7fa\r", line: "a", ending: "enter" },
  { what: "Ctrl-U takes all", keys: "wrong\x15right\r", line: "right", ending: "enter" },
  { what: "arrow and function keys are no text", keys: "a\x1b[Db\x1bOPc\x1b[15~d\r", line: "abcd", ending: "enter" },
  { what: "nor are the marks around a paste", keys: "\x1b[200~pasted\x1b[201~\r", line: "pasted", ending: "enter" },
  { what: "nor are other control characters", keys: "a\tb\x1ac\r", line: "abc", ending: "enter" },
])("$what", ({ keys, line, ending }) => {
  expect(typed(keys)).toEqual({ line, ending });
  expect(typed(keys, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])).toEqual({ line, ending });
});

test("gives what was typed, however it is cut", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 40 }).filter((line) => !/\p{Cc}/u.test(line));
  fc.assert(
    fc.property(text, fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 20 }), (line, cuts) => {
      expect(typed(`${line}\r`, cuts)).toEqual({ line, ending: "enter" });
    }),
  );
});

test("tells what is behind the line, and a line that is too long from the longest", () => {
  const editor = new LineEditor();
  expect(editor.take(Buffer.from("ab\ncd"))).toEqual({ taken: 3, ending: "enter" });
  editor.wipe();
  editor.take(Buffer.alloc(MAX_SECRET_BYTES + 100, "x"));
  expect(editor.line()).toHaveLength(MAX_SECRET_BYTES + 1);
  editor.wipe();
  expect(editor.line()).toHaveLength(0);
});
