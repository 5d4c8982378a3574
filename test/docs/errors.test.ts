import { describe, expect, test } from "vitest";
import { ERRORS } from "../../src/protocols/errors.ts";
import { readSource, tableRows } from "./documents.ts";

/** Rows of the catalogue as the document must have them. */
const expected = Object.entries(ERRORS).map(([code, { meaning, remedy, retryable, exitCode }]) => [
  `\`${code}\``,
  meaning,
  remedy,
  retryable ? "yes" : "no",
  String(exitCode),
]);

describe("docs/errors.md", () => {
  const rows = tableRows(readSource("docs/errors.md"));

  test("has a row for every code of the catalogue, with its texts", () => {
    expect(rows).toEqual(expect.arrayContaining(expected));
  });

  test("has a row for nothing else", () => {
    expect(rows.map(([code]) => code)).toEqual(expected.map(([code]) => code));
  });
});
