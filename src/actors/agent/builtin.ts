import { setTimeout as pause } from "node:timers/promises";
import { TaskError } from "../../protocols/errors.ts";
import { type AgentDefinition, defineAgent } from "./definition.ts";

const MAX_SLEEP_MS = 86_400_000;

/** The agents that every host has unless told otherwise: `echo` returns its input, `sleep` waits `{ms}`. */
export function builtinAgents(instances: number): AgentDefinition {
  return defineAgent({
    kinds: ["echo", "sleep"],
    instances,
    // The signal is made when it is asked for, and echo needs none.
    run: (task, ctx) => (task.kind === "echo" ? task.input : sleep(task.input, ctx.signal)),
  });
}

async function sleep(input: unknown, signal: AbortSignal): Promise<{ readonly ms: number }> {
  const ms = (input as { readonly ms?: unknown } | undefined)?.ms;
  if (typeof ms !== "number" || !(ms >= 0 && ms <= MAX_SLEEP_MS)) {
    throw new TaskError("INVALID", `sleep needs {ms: 0..${MAX_SLEEP_MS}}`, { retryable: false });
  }
  await pause(ms, undefined, { signal });
  return { ms };
}
