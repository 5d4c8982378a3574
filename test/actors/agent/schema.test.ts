import { describe, expect, expectTypeOf, it } from "vitest";
import { z } from "zod";
import { defineAgent, type Task, type TaskContext } from "../../../src/actors/agent/definition.ts";
import { resolveAgent } from "../../../src/actors/agent/resolve.ts";
import type { InputSchema } from "../../../src/actors/agent/schema.ts";

const address = z.object({ cities: z.array(z.object({ name: z.string() })), "post code": z.coerce.number() });

/** Runs an agent whose input has that schema, and says what its behaviour got. */
async function run(schema: unknown, input: unknown, signal = new AbortController().signal) {
  const got: unknown[] = [];
  const definition = { kind: "ask", input: schema, run: (task: Task) => void got.push(task.input) };
  const agent = resolveAgent(definition, { pool: "default", slots: 1 }, "agent 0");
  const task = { id: "t", kind: "ask", input } as Task;
  let error: unknown;
  try {
    await agent.run(task, { signal } as TaskContext);
  } catch (thrown) {
    error = thrown;
  }
  return { got, error, original: task.input };
}

describe("the schema of an input", () => {
  it("gives the behaviour what it made of the input, with its type", async () => {
    const input = { cities: [{ name: "Riga", more: 1 }], "post code": "1050" };
    const { got, original } = await run(address, input);
    expect(got).toEqual([{ cities: [{ name: "Riga" }], "post code": 1050 }]);
    expect(original).toBe(input);
    defineAgent({
      kind: "typed",
      input: address,
      run({ input: typed }) {
        expectTypeOf(typed).toEqualTypeOf<{ cities: { name: string }[]; "post code": number }>();
      },
    });
  });

  it("fails an input that it refuses for good, naming each path, without running the behaviour", async () => {
    const { got, error } = await run(address, { cities: [{ name: "Riga" }, { name: 7 }], "post code": "x" });
    expect(got).toEqual([]);
    expect(error).toMatchObject({ code: "INVALID_INPUT", retryable: false });
    expect(String(error)).toMatch(/input\.cities\[1\]\.name: .*string.*; input\["post code"\]: .*number/);
  });

  it("may wait, and may be a function as those of arktype are", async () => {
    const waiting = Object.assign(() => undefined, {
      "~standard": {
        version: 1 as const,
        vendor: "test",
        validate: async (value: unknown) => (value === 1 ? { value: "one" } : { issues: [{ message: "not 1" }] }),
      },
    }) satisfies InputSchema<string>;
    expect((await run(waiting, 1)).got).toEqual(["one"]);
    expect((await run(waiting, 2)).error).toMatchObject({ code: "INVALID_INPUT", message: "input: not 1" });
    const late = new Error("the attempt is over");
    expect(await run(waiting, 1, AbortSignal.abort(late))).toMatchObject({ got: [], error: late });
  });

  it("tells of many mistakes the first twenty", async () => {
    const { error } = await run(
      z.array(z.string()),
      Array.from({ length: 25 }, () => 0),
    );
    expect(String(error)).toMatch(/input\[19\]: [^;]*; and 5 more$/);
  });

  it.each([["an object"], [7], [{ "~standard": { version: 2, validate: () => null } }], [null]])(
    "is refused if it is none: %j",
    (schema) => {
      expect(() =>
        resolveAgent({ kind: "ask", input: schema, run: () => null }, { pool: "default", slots: 1 }, "agent 0"),
      ).toThrow(
        expect.objectContaining({
          code: "CONFIG",
          message: expect.stringContaining("agent 0: input must be a schema"),
        }),
      );
    },
  );
});
