import { describe, expect, expectTypeOf, it } from "vitest";
import { z } from "zod";
import { defineAgent } from "../../src/actors/agent/definition.ts";
import { TaskError } from "../../src/protocols/errors.ts";
import { testAgent } from "../../src/testing.ts";
import { rejection } from "../support/wait.ts";

describe("testAgent", () => {
  it("gives the result, events, log and checkpoints that a swarm would have", async () => {
    const agent = defineAgent({
      kind: "work",
      isolation: "process",
      async run(task, ctx) {
        ctx.log.info({ more: 1 }, "a line");
        ctx.progress({ half: true });
        ctx.output("a");
        ctx.output("b");
        await ctx.checkpoint({ at: 1 });
        return { got: task.input, extra: task.extra["color"], when: new Date(0), left: undefined };
      },
    });
    const { result, events, log, checkpoints, attempts } = await testAgent(agent, { input: [1], color: "red" });
    expect(result).toMatchObject({ id: "test", pool: "default", kind: "work", status: "ok", attempt: 1, ticket: 0 });
    expect(result.output).toEqual({ got: [1], extra: "red", when: new Date(0) });
    expectTypeOf(result.output?.when).toEqualTypeOf<Date | undefined>();
    expect(events).toMatchObject([
      { type: "progress", data: { half: true } },
      { type: "output", data: { seq: 0, chunk: "a" } },
      { type: "output", data: { seq: 1, chunk: "b" } },
    ]);
    expect(log).toEqual([
      { level: "info", message: "a line", fields: { task: "test", kind: "work", attempt: 1, more: 1 } },
    ]);
    expect([checkpoints, attempts]).toEqual([[{ at: 1 }], [{ attempt: 1 }]]);
  });

  it("tries again at once what fails for now, from its last checkpoint, and tells how long a swarm would wait", async () => {
    const restored: unknown[] = [];
    const agent = defineAgent({
      kind: "work",
      backoff: { initialMs: 3_600_000, factor: 2, maxMs: 86_400_000 },
      run: async (_, ctx) => {
        restored.push(ctx.restored);
        await ctx.checkpoint(ctx.attempt);
        throw new Error("not yet");
      },
    });
    const { result, attempts, events } = await testAgent(agent);
    const error = { code: "AGENT_ERROR", message: "Error: not yet", retryable: true };
    expect(attempts).toEqual([
      { attempt: 1, error, delayMs: 3_600_000 },
      { attempt: 2, error, delayMs: 7_200_000 },
      { attempt: 3, error },
    ]);
    expect(result).toMatchObject({ status: "failed", attempt: 3, error: { ...error, retryable: false } });
    expect(result.finishedAt - result.submittedAt).toBeGreaterThanOrEqual(3 * 3_600_000);
    expect(restored).toEqual([undefined, 1, 2]);
    expect(events.map(({ type }) => type)).toEqual(["retrying", "retrying"]);
  });

  it("begins where an earlier attempt left off, if the test says so", async () => {
    const agent = defineAgent({ kind: "work", run: (_, ctx) => [ctx.attempt, ctx.ticket, ctx.restored] });
    const { result, checkpoints } = await testAgent(agent, {}, { restored: { line: 7 } });
    expect([result.output, checkpoints]).toEqual([[2, 1, { line: 7 }], []]);
  });

  it("checks the input by the agent's schema, and outputs by whether they can be sent", async () => {
    const agent = defineAgent({ kind: "work", input: z.object({ n: z.number() }), run: ({ input }) => input.n });
    const refused = await testAgent(agent, { input: { n: "1" } });
    expect(refused.result).toMatchObject({ status: "failed", error: { code: "INVALID_INPUT" }, attempt: 1 });
    const odd = await testAgent(defineAgent({ kind: "work", run: () => () => 1 }));
    expect(odd.result).toMatchObject({ status: "failed", error: { code: "INVALID_OUTPUT" }, attempt: 1 });
  });

  it("ends an attempt at its timeout, and a task that is cancelled", async () => {
    const agent = defineAgent({ kind: "work", run: () => new Promise(() => undefined) });
    const { result } = await testAgent(agent, { timeoutMs: 5, maxAttempts: 1 });
    expect(result).toMatchObject({ status: "failed", error: { code: "TIMEOUT" } });
    const controller = new AbortController();
    const waiting = defineAgent({
      kind: "work",
      run: async (_, ctx) => {
        controller.abort();
        await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
      },
    });
    const cancelled = await testAgent(waiting, {}, { signal: controller.signal });
    expect(cancelled.result).toMatchObject({ status: "cancelled", error: { code: "CANCELLED" } });
    expect((await testAgent(agent, {}, { signal: AbortSignal.abort() })).result).toMatchObject({
      status: "cancelled",
      attempt: 0,
    });
  });

  it("stands for the vault, and gives only what the agent declares", async () => {
    const agent = defineAgent({
      kind: "work",
      providers: ["openai", "other"],
      async run(task, ctx) {
        if (task.input === "undeclared") return await ctx.vault.fetch("nobody", "https://x/");
        if (task.input === "missing") return await ctx.vault.lease("other");
        const response = await ctx.vault.fetch("openai", "https://api.openai.com/v1", { method: "POST", body: "ask" });
        return [await response.text(), (await ctx.vault.lease("openai")).text()];
      },
    });
    const vault = {
      keys: { openai: "sk-test" },
      fetch: async (provider: string, request: Request) =>
        new Response(`${provider} ${request.method} ${request.url} ${await request.text()}`),
    };
    const { result } = await testAgent(agent, {}, { vault });
    expect(result.output).toEqual(["openai POST https://api.openai.com/v1 ask", "sk-test"]);
    for (const [input, code] of [
      ["undeclared", "GRANT_VOID"],
      ["missing", "NOT_FOUND"],
    ]) {
      expect((await testAgent(agent, { input, maxAttempts: 1 }, { vault })).result.error?.code).toBe(code);
    }
  });

  it("refuses what a swarm would not take", async () => {
    const agent = defineAgent({ kinds: ["a", "b"], run: ({ kind }) => kind });
    expect(await rejection(testAgent(agent))).toMatchObject({ code: "INVALID", message: /one of the agent's: a, b/ });
    expect((await testAgent(agent, { kind: "b" })).result.output).toBe("b");
    expect(await rejection(testAgent(agent, { kind: "a", timeoutMs: 0 }))).toMatchObject({ code: "INVALID" });
    expect(await rejection(testAgent(agent, { kind: "a", input: () => 1 }))).toMatchObject({ code: "INVALID" });
    expect(await rejection(testAgent({ kind: "a", slots: 0, run: () => null }))).toMatchObject({ code: "CONFIG" });
    const failing = defineAgent({
      kind: "a",
      run: () => {
        throw new TaskError("NO", "never", { retryable: false });
      },
    });
    expect((await testAgent(failing)).attempts).toHaveLength(1);
  });
});
