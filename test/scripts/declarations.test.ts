import { expect, test } from "vitest";
import { declarationsOf, membersOf } from "../../scripts/lib/declarations.mjs";

const TEXT = `import type { X } from "./x.ts";
/** A thing
 * of two lines. */
export interface Thing<T extends object = Record<string, { a: 1 }>> {
    /** How long, ms. */
    readonly ms?: number;
    nested(options?: {
        readonly a: string;
    }): Promise<T>;
    /** Inside only. @internal */
    hidden(): void;
}
export declare class Machine {
    #private;
    private secret;
    /** Makes it. */
    constructor(x: X);
    /** Goes. */
    go(fast: true): 1;
    go(fast: false): (done: () => void) => 2;
    get [Symbol.species](): "}";
}
export type One = {
    a: 1;
} | "two;";
/** Twice. */
export declare function twice(a: 1): 1;
export declare function twice(a: 2): 2;
`;

test("finds every declaration with its docstring, overloads as one", () => {
  const found = declarationsOf(TEXT);
  expect(found.map(({ name, doc }) => [name, doc])).toEqual([
    ["Thing", "A thing\nof two lines."],
    ["Machine", ""],
    ["One", ""],
    ["twice", "Twice."],
  ]);
  expect(found[2]?.code).toBe('export type One = {\n    a: 1;\n} | "two;";');
  expect(found[3]?.code.split("\n")).toHaveLength(2);
});

test("finds the public members, and leaves out what is private, internal or a constructor", () => {
  const [thing, machine] = declarationsOf(TEXT).map(({ code }) => membersOf(code));
  expect(thing?.map(({ name, doc }) => [name, doc])).toEqual([
    ["ms", "How long, ms."],
    ["nested", ""],
  ]);
  expect(thing?.[1]?.code).toBe("nested(options?: {\n    readonly a: string;\n}): Promise<T>;");
  expect(machine?.map(({ name }) => name)).toEqual(["go", "[Symbol.species]"]);
  expect(machine?.[0]).toMatchObject({
    doc: "Goes.",
    code: "go(fast: true): 1;\ngo(fast: false): (done: () => void) => 2;",
  });
});
