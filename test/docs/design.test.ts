import { describe, expect, test } from "vitest";
import { codeOf, readSource, sectionOf, tableRows } from "./documents.ts";

describe("docs/design.md", () => {
  const { dependencies } = JSON.parse(readSource("package.json")) as { dependencies: Record<string, string> };

  test("gives the reason of every runtime dependency, and of nothing else", () => {
    const listed = tableRows(sectionOf(readSource("docs/design.md"), "Dependencies")).map(([name]) => codeOf(name));
    expect(listed.sort()).toEqual(Object.keys(dependencies).sort());
  });
});
