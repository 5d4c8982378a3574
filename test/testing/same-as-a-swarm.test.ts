/** The test kit says of a task what a swarm says of it. */
import { expect, test } from "vitest";
import { z } from "zod";
import { defineAgent } from "../../src/actors/agent/definition.ts";
import { TaskError } from "../../src/protocols/errors.ts";
import { testAgent } from "../../src/testing.ts";
import { Dealing } from "../support/dealing.ts";
import { useNats } from "../support/nats.ts";

const nats = useNats();

test("testAgent says the same as a swarm of every way that a task can end", async () => {
  const agent = defineAgent({
    kind: "any",
    backoff: { initialMs: 1 },
    input: z.looseObject({ way: z.string().transform((way) => way.toUpperCase()) }),
    run: async ({ input: { way } }, ctx) => {
      await ctx.checkpoint({ attempt: ctx.attempt, way });
      if (way === "OK") return { way, left: undefined, big: 2n ** 60n };
      if (way === "NOTHING") return undefined;
      if (way === "LARGE") return "x".repeat(2 * 2 ** 20);
      if (way === "UNENCODABLE") return { at: new Map() };
      if (way === "STATE") return await ctx.checkpoint(() => undefined);
      if (way === "EVENT") return ctx.progress("x".repeat(2 * 2 ** 20));
      if (way === "GOOD") throw new TaskError("NO", "for good", { retryable: false });
      if (way === "SECOND" && ctx.attempt === 2) return ctx.restored;
      throw new Error("any");
    },
  });
  const swarm = await Dealing.start(nats);
  await swarm.host("h", agent);
  await swarm.dispatcher();
  const ways = ["ok", "nothing", "large", "unencodable", "state", "event", "good", "second", "any", 7];
  for (const [i, way] of ways.entries()) await swarm.submit("any", { id: `w${i}`, input: { way }, maxAttempts: 2 });
  const said = ({ status, output, error, attempt }: { readonly [field: string]: unknown }) => ({
    ...{ status, output, error, attempt },
  });
  for (const [i, way] of ways.entries()) {
    const { result } = await testAgent(agent, { input: { way }, maxAttempts: 2 });
    const stored = await swarm.result(`w${i}`);
    // The output is in the object store, or the message names the subject of the event.
    if (way === "event") expect(result.error?.code).toBe((stored.error as { code: string }).code);
    else if (stored.outputRef === undefined) expect(said({ ...result }), String(way)).toEqual(said({ ...stored }));
    else expect(result, String(way)).toMatchObject({ status: stored.status, attempt: stored.attempt });
  }
});
