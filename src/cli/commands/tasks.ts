/** `vgas tasks list` and `vgas tasks purge`: what waits in the queue. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { readTasks } from "../../bus/codec/task.ts";
import type { StoredMessage } from "../../bus/stored.ts";
import { waitingMessages } from "../../bus/waiting.ts";
import { checkLane } from "../../client/task-message.ts";
import { HEADERS, type LaneName, type Names, PRIORITIES, type Priority } from "../../protocols/subjects.ts";
import { automaticId, isToken } from "../../protocols/tokens.ts";
import type { Cli } from "../cli.ts";
import { confirmed } from "../confirm.ts";
import { addExamples } from "../examples.ts";
import { addPoolOption, addSwarmOptions, integer, type SwarmFlags } from "../options.ts";
import { commandConfig, connectClient, type Swarm, withSwarm } from "../swarm.ts";
import { plural } from "../table.ts";
import { time } from "./vault/text.ts";

interface ListFlags extends SwarmFlags {
  readonly kind?: string;
  readonly priority?: Priority;
  readonly limit: number;
}

interface PurgeFlags extends SwarmFlags {
  readonly kind: string;
  readonly yes?: true;
}

/** A task of the queue, without what it is to work on. */
interface QueuedTask extends LaneName {
  readonly id: string;
  readonly priority: Priority;
  readonly submittedAt: number;
  readonly notBefore?: number;
}

const DEFAULT_LIMIT = 100;
/** Cancels under way at once. */
const WINDOW = 64;

export function addTasks(program: Command, cli: Cli): void {
  const tasks = program
    .command("tasks")
    .summary("what waits in the queue")
    .description("Tasks that have no result yet: looks at them, or cancels all of a kind that wait.");
  addExamples(tasks, [
    ["vgas tasks list --kind resize", "the oldest that are not finished"],
    ["vgas tasks purge --kind resize", "cancel all of a kind that wait; asks first"],
  ]);
  addList(tasks, cli);
  addPurge(tasks, cli);
}

function addList(tasks: Command, cli: Cli): void {
  const command = addPoolOption(addSwarmOptions(tasks.command("list")))
    .summary("tasks that are not finished, oldest first")
    .description(
      "Prints the tasks of the queue, oldest first: those that wait, and those that run and have no result yet (`vgas task ID` tells them apart).",
    )
    .option("--kind <kind>", "only of this kind (default: all of the pool)")
    .addOption(new Option("--priority <priority>", "only of this priority").choices(PRIORITIES))
    .option("--limit <n>", `at most so many (default: ${DEFAULT_LIMIT})`, atLeastOne, DEFAULT_LIMIT)
    .action(async (flags: ListFlags) => {
      const { terminal } = cli;
      await withSwarm(cli, flags, "observer", async (swarm) => {
        const { kind = "*", priority, limit } = flags;
        const { pool } = commandConfig(cli, flags);
        if (kind !== "*") checkLane({ pool, kind });
        let printed = 0;
        for await (const task of queued(swarm, pool, kind, priority)) {
          if (printed++ === limit) {
            terminal.note(`There are more; --limit ${limit * 10} shows more of them.`);
            break;
          }
          if (!terminal.data(flags.json ? JSON.stringify(task) : taskLine(task))) await terminal.drained();
          if (terminal.readerGone.aborted) return;
        }
        if (printed === 0 && !flags.json) terminal.note("Nothing waits.");
      });
    });
  addExamples(command, [
    ["vgas tasks list", "the 100 oldest of the pool"],
    ["vgas tasks list --kind resize --priority low --json", "one object a line"],
  ]);
}

function addPurge(tasks: Command, cli: Cli): void {
  const command = addPoolOption(addSwarmOptions(tasks.command("purge")))
    .summary("cancel every waiting task of a kind")
    .description(
      "Cancels every task of a kind that waits: each ends in a `cancelled` result, as by `vgas cancel`. What runs goes on. Asks first on a " +
        "terminal; elsewhere it wants --yes. What is submitted meanwhile stays.",
    )
    .requiredOption("--kind <kind>", "the kind")
    .option("--yes", "do not ask")
    .action(async (flags: PurgeFlags) => {
      const { kind } = flags;
      const { pool } = checkLane({ pool: commandConfig(cli, flags).pool, kind });
      const what = `every waiting task of kind ${kind} in pool ${pool}`;
      if (!(await confirmed(cli, `Cancel ${what}?`, flags))) return;
      const counts = await withSwarm(cli, flags, "observer", (swarm) => purge(cli, flags, swarm, pool));
      if (flags.json) cli.terminal.data(JSON.stringify({ pool, kind, ...counts }));
      else cli.terminal.note(`${plural(counts.cancelled, "task")} cancelled, ${counts.running} left running.`);
      if (cli.interrupt.signal.aborted) cli.exitCode = cli.interrupt.exitCode;
    });
  addExamples(command, [
    ["vgas tasks purge --kind resize", "asks first"],
    ["vgas tasks purge --kind resize --yes --json", "for scripts: how many were cancelled"],
  ]);
}

async function purge(
  cli: Cli,
  flags: PurgeFlags,
  swarm: Swarm,
  pool: string,
): Promise<{ readonly cancelled: number; readonly running: number }> {
  const { terminal, interrupt } = cli;
  const { kind } = flags;
  const client = await connectClient(cli, flags);
  const counts = { cancelled: 0, running: 0 };
  const cancel = async ({ id }: QueuedTask): Promise<void> => {
    const { state } = await client.cancel(pool, id, { kind, onlyWaiting: true });
    if (state === "cancelled") counts.cancelled++;
    else if (state === "running" || state === "cancelling") counts.running++;
  };
  try {
    let window: QueuedTask[] = [];
    for await (const task of queued(swarm, pool, kind)) {
      if (interrupt.signal.aborted) return counts;
      if (window.push(task) < WINDOW) continue;
      await Promise.all(window.map(cancel));
      window = [];
      terminal.progress(`cancelled: ${counts.cancelled}`);
    }
    await Promise.all(window.map(cancel));
    return counts;
  } finally {
    terminal.progress(undefined);
    await client.close();
  }
}

/** The tasks in the stream, oldest first within a priority. */
async function* queued(
  { bus, names }: Swarm,
  pool: string,
  kind: string,
  only?: Priority,
): AsyncGenerator<QueuedTask, void, undefined> {
  const priorities = only === undefined ? PRIORITIES : [only];
  for (const priority of priorities) {
    const filter = names.task(pool, kind, priority);
    for await (const message of waitingMessages(bus, names.streams.tasks, { filter })) yield* tasksOf(names, message);
  }
}

/** Reads the envelopes only. A message that holds no task yields what a verdict will call it. */
function* tasksOf(names: Names, message: StoredMessage): Generator<QueuedTask, void, undefined> {
  const lane = names.parseTask(message.subject);
  if (lane === undefined) return;
  const moved = message.header(HEADERS.taskId);
  const movedAt = Number(message.header(HEADERS.submittedAt) ?? message.timestampMs);
  const common = { ...lane, submittedAt: moved === undefined ? message.timestampMs : movedAt };
  try {
    const { array, tasks } = readTasks(message.data);
    for (const [i, task] of tasks.entries()) {
      const { id, notBefore } = task.ok ? task.fields : {};
      yield {
        id: moved ?? (isToken(id) ? id : automaticId(message.sequence, array ? i : undefined)),
        ...common,
        ...(typeof notBefore === "number" && { notBefore }),
      };
    }
  } catch {
    yield { id: automaticId(message.sequence), ...common };
  }
}

function taskLine({ id, kind, priority, submittedAt, notBefore }: QueuedTask): string {
  const from = notBefore === undefined || notBefore <= Date.now() ? "" : `  not before ${time(notBefore)}`;
  return `${id.padEnd(20)}  ${time(submittedAt)}  ${priority.padEnd(6)}  ${kind}${from}`;
}

function atLeastOne(text: string): number {
  const number = integer(text);
  if (number < 1) throw new InvalidArgumentError("It must be at least 1.");
  return number;
}
