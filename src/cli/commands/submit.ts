import { type Command, InvalidArgumentError, Option } from "commander";
import type { TaskHandle } from "../../client/handle.ts";
import type { TaskOptions } from "../../client/task-message.ts";
import type { Client } from "../../client.ts";
import { VgasError } from "../../protocols/errors.ts";
import { PRIORITIES, type Priority } from "../../protocols/subjects.ts";
import type { Cli } from "../cli.ts";
import { EXIT, UsageError } from "../failure.ts";
import { jsonLine, parseJsonArgument, readJsonInput } from "../json.ts";
import { addPoolOption, addSwarmOptions, addTimeoutOption, duration, integer, type SwarmFlags } from "../options.ts";
import { withClient } from "../swarm.ts";

interface Flags extends SwarmFlags {
  readonly wait?: boolean;
  readonly timeout?: number;
  readonly id?: string;
  readonly context?: string;
  readonly timeoutMs?: number;
  readonly expiresMs?: number;
  readonly maxAttempts?: number;
  readonly now?: true;
  readonly priority?: Priority;
  readonly delay?: number;
  readonly notBefore?: number;
  readonly events?: true;
}

const STDIN = "-";

export function addSubmit(program: Command, cli: Cli): void {
  const command = addPoolOption(addSwarmOptions(program.command("submit")))
    .summary("submit one task")
    .description("Submits one task and prints its id, or with --wait its result as JSON.")
    .argument("<kind>", "what the task needs, such as echo")
    .argument("[input-json]", "its input (default: null); - reads it from stdin")
    .option("--wait", "wait for the result; exit 3 if it is not ok");
  addTimeoutOption(command, "wait no longer than this until it is stored, and then for the result; exit 5")
    .option("--id <id>", "id of the task (default: automatic)")
    .option("--context <json>", "context snapshot bound to the task")
    .option("--timeout-ms <n>", "longest run of one attempt (default: 60000)", duration)
    .option("--expires-ms <n>", "not started within this: expired (default: never)", duration)
    .option("--max-attempts <n>", "at most this many executions (default: 3)", integer)
    .option("--now", "only if an agent is free at once: else exit 1, and nothing waits")
    .addOption(new Option("--priority <priority>", "before or after the others of its kind").choices(PRIORITIES))
    .option("--delay <time>", "not to be started before this has passed", duration)
    .option("--not-before <time>", "not to be started before, such as 2026-12-24T18:00Z", instant)
    .option("--events", "with --wait: print what it says while it runs, one JSON object a line, then its result")
    .action(async (kind: string, input: string | undefined, flags: Flags) => {
      checkFlags(flags);
      const value = await inputOf(input);
      const options = taskOptions(flags);
      await withClient(cli, flags, async (client) => {
        const how = {
          ...options,
          signal: cli.interrupt.signal,
          track: flags.wait ?? false,
          ...(flags.timeout !== undefined && !flags.now && { submitTimeoutMs: flags.timeout }),
          ...(flags.events && { onEvent: (event: object) => void cli.terminal.data(jsonLine(event)) }),
        };
        const task = flags.now ? await client.now(kind, value, how) : await client.submit(kind, value, how);
        if (flags.wait) await printResult(cli, client, task, flags);
        else cli.terminal.data(flags.json ? JSON.stringify({ id: task.id, pool: task.pool, kind }) : task.id);
      });
    });
}

async function inputOf(input: string | undefined): Promise<unknown> {
  if (input === undefined) return undefined;
  return input === STDIN ? await readJsonInput("the input") : parseJsonArgument(input, "the input");
}

/** @throws UsageError for flags that contradict each other */
function checkFlags({ now, priority, delay, notBefore, events, wait }: Flags): void {
  if (now && (priority ?? delay ?? notBefore) !== undefined) {
    const why = "A task that is taken at once cannot wait: leave out --now, or --priority, --delay and --not-before.";
    throw new UsageError("--now is for a task that does not wait", why);
  }
  if (delay !== undefined && notBefore !== undefined)
    throw new UsageError("--delay and --not-before say the same", "Give one of them.");
  if (events && !wait) throw new UsageError("--events prints what a task says while it runs", "Give --wait too.");
}

/** Milliseconds since the epoch. */
function instant(text: string): number {
  const at = /^\d{12,}$/.test(text) ? Number(text) : Date.parse(text);
  if (Number.isNaN(at))
    throw new InvalidArgumentError("It must be a time such as 2026-12-24T18:00Z, or ms since 1970.");
  return at;
}

function taskOptions({
  id,
  context,
  timeoutMs,
  expiresMs,
  maxAttempts,
  priority,
  delay,
  notBefore,
}: Flags): TaskOptions & { readonly priority?: Priority } {
  return {
    ...(priority !== undefined && { priority }),
    ...(delay !== undefined && { delayMs: delay }),
    ...(notBefore !== undefined && { notBefore }),
    ...(id !== undefined && { id }),
    ...(context !== undefined && { context: parseJsonArgument(context, "--context") }),
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(expiresMs !== undefined && { expiresMs }),
    ...(maxAttempts !== undefined && { maxAttempts }),
  };
}

async function printResult(cli: Cli, client: Client, task: TaskHandle, flags: Flags): Promise<void> {
  const { terminal, interrupt } = cli;
  const left = `Task ${task.id} is still in the swarm; \`vgas results ${task.id}\` shows its result once it has one.`;
  const asking = new AbortController();
  const told = tellIfUnoffered(cli, client, task, asking.signal);
  try {
    const waiting = { signal: interrupt.signal, ...(flags.timeout !== undefined && { timeoutMs: flags.timeout }) };
    const result = await task.result(waiting);
    terminal.data(jsonLine(result));
    if (result.status !== "ok") cli.exitCode = EXIT.someFailed;
  } catch (error) {
    if (interrupt.explains(error)) {
      terminal.note(left);
      cli.exitCode = interrupt.exitCode;
      return;
    }
    if (error instanceof VgasError && error.code === "TIMEOUT") terminal.note(left);
    throw error;
  } finally {
    asking.abort();
    await told;
  }
}

/** Says that nobody takes the task, as soon as that is known. Never rejects: the task is submitted, whatever comes of asking. */
async function tellIfUnoffered(
  cli: Cli,
  client: Client,
  { id, pool, kind }: TaskHandle,
  signal: AbortSignal,
): Promise<void> {
  try {
    if (kind === undefined || (await client.offered(pool, kind, { signal }))) return;
    cli.terminal.note(`Nobody offers kind ${kind} in pool ${pool} now: task ${id} waits until somebody does.`);
  } catch (error) {
    if (!(error instanceof VgasError)) throw error;
  }
}
