/** Checked by the compiler (`npm run verify`): nothing here is called. */
import { expectTypeOf, test } from "vitest";
import { type AgentDefinition, defineAgent, type Task } from "../../src/actors/agent/definition.ts";
import type { TaskBatch } from "../../src/client/batch.ts";
import type { TaskHandle } from "../../src/client/handle.ts";
import type { KindsOf } from "../../src/client/kinds.ts";
import type { NowHandle } from "../../src/client/now.ts";
import { type Client, connect } from "../../src/client.ts";

interface Kinds {
  wordcount: { input: string; output: { words: number } };
  tick: { input: undefined; output: Date };
}

const client = undefined as unknown as Client<Kinds>;
const plain = undefined as unknown as Client;

test("a map of kinds types inputs and outputs", () => {
  expectTypeOf(() => client.submit("wordcount", "to be")).returns.resolves.toEqualTypeOf<
    TaskHandle<{ words: number }>
  >();
  expectTypeOf(() => client.submitMany("wordcount", ["a"])).returns.resolves.toEqualTypeOf<
    TaskBatch<{ words: number }>
  >();
  expectTypeOf(() => client.now("tick")).returns.resolves.toEqualTypeOf<NowHandle<Date>>();
  expectTypeOf(() => client.submit("tick")).returns.resolves.toEqualTypeOf<TaskHandle<Date>>();
  expectTypeOf(() => connect<Kinds>()).returns.resolves.toEqualTypeOf<Client<Kinds>>();
  expectTypeOf(() =>
    client.submitMany("wordcount", ["a"], { task: (input) => ({ id: input.toUpperCase() }) }),
  ).returns.resolves.toEqualTypeOf<TaskBatch<{ words: number }>>();
});

test("what a map does not allow is an error", () => {
  // @ts-expect-error: no such kind
  expectTypeOf(() => client.submit("wordcoutn", "to be")).toBeFunction();
  // @ts-expect-error: not its input
  expectTypeOf(() => client.submit("wordcount", 1)).toBeFunction();
  // @ts-expect-error: it needs an input
  expectTypeOf(() => client.submit("wordcount")).toBeFunction();
  // @ts-expect-error: not its input
  expectTypeOf(() => client.submitMany("wordcount", [1])).toBeFunction();
  // @ts-expect-error: not its input
  expectTypeOf(() => client.now("tick", 1)).toBeFunction();
});

test("without a map everything is unknown, or what the caller says", () => {
  expectTypeOf(() => plain.submit("anything", 1)).returns.resolves.toEqualTypeOf<TaskHandle<unknown>>();
  expectTypeOf(() => plain.submit<string>("anything")).returns.resolves.toEqualTypeOf<TaskHandle<string>>();
  expectTypeOf(() => plain.now<number>("anything")).returns.resolves.toEqualTypeOf<NowHandle<number>>();
  expectTypeOf(() => plain.submitMany<number, string>("anything", ["a"])).returns.resolves.toEqualTypeOf<
    TaskBatch<number>
  >();
});

test("the map comes from the agents' definitions: one, a list, or a module", () => {
  const wordcount = defineAgent({
    kind: "wordcount",
    run: (task: Task<string>) => ({ words: task.input.length }),
  });
  const sums = defineAgent({ kinds: ["sum", "product"], run: async (task: Task<number[]>) => task.input.length });
  type Words = { readonly input: string; readonly output: { words: number } };
  type Sums = { readonly input: number[]; readonly output: number };
  interface All {
    readonly wordcount: Words;
    readonly sum: Sums;
    readonly product: Sums;
  }
  const list = [wordcount, sums] as const;
  const module = { default: wordcount, more: [sums] };
  expectTypeOf<KindsOf<typeof wordcount>>().branded.toEqualTypeOf<{ readonly wordcount: Words }>();
  expectTypeOf<KindsOf<typeof list>>().branded.toEqualTypeOf<All>();
  expectTypeOf<KindsOf<typeof module>>().branded.toEqualTypeOf<All>();
  expectTypeOf(wordcount).toExtend<AgentDefinition<string, { words: number }>>();
});
