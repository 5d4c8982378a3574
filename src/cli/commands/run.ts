import type { Command } from "commander";
import { Deadline } from "../../bus/deadline.ts";
import { type Client, connect } from "../../client.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Cli } from "../cli.ts";
import { EXIT } from "../failure.ts";
import { openSource } from "../lines.ts";
import { addModuleOption, addPoolOption, addSwarmOptions, addTimeoutOption, type NodeFlags } from "../options.ts";
import { type PrivateSwarm, startPrivateSwarm } from "../private-swarm.ts";
import { showProgress } from "../run-progress.ts";
import { commandConfig, commandLogger, connectClient } from "../swarm.ts";
import { count, plural } from "../table.ts";
import { type RunCounts, TaskRun } from "../task-run.ts";

interface Flags extends NodeFlags {
  readonly timeout?: number;
  readonly kind?: string;
}

const NEVER = new Promise<never>(() => undefined);

/** What the run goes to. */
interface Destination {
  readonly client: Client;
  /** Where the swarm was started for this run. */
  readonly own: PrivateSwarm | undefined;
}

export function addRun(program: Command, cli: Cli): void {
  const command = addPoolOption(addSwarmOptions(program.command("run")))
    .summary("run every line of a file as a task")
    .description(
      "Submits every line of a JSONL file as a task and prints each result as one JSON line, as they come. A line is an " +
        "object with kind, and input, id, context, priority, notBefore and the other fields of a task; pool overrides --pool. Where no swarm " +
        "runs, it starts a private one that ends with it. Exit 0 if all are ok, 3 otherwise.",
    )
    .argument("<file>", "one JSON object a line; - reads stdin")
    .option("--kind <kind>", "kind of lines that name none");
  addModuleOption(addTimeoutOption(command, "end after this, whatever is left; exit 5")).action(
    async (file: string, flags: Flags) => {
      const source = await openSource(file);
      const startedAt = performance.now();
      const { client, own } = await destination(cli, flags);
      const run = new TaskRun({ client, terminal: cli.terminal, closedSwarm: own !== undefined, kind: flags.kind });
      const stopProgress = showProgress(cli.terminal, run.counts);
      const deadline = new Deadline(flags.timeout, cli.interrupt.signal, cli.terminal.readerGone);
      let finished = false;
      try {
        finished = await Promise.race([run.work(source, deadline.signal), own?.failed ?? NEVER]);
      } finally {
        deadline.clear();
        stopProgress();
        tellLeft(cli, run.counts, own !== undefined);
        await client.close();
        await own?.stop();
      }
      cli.terminal.note(summary(run.counts, performance.now() - startedAt));
      if (deadline.expired && !finished && cli.interrupt.received === undefined)
        throw new VgasError("TIMEOUT", `the run timed out after ${flags.timeout} ms`);
      cli.exitCode = exitCode(cli, run.counts);
    },
  );
}

async function destination(cli: Cli, flags: Flags): Promise<Destination> {
  const { terminal } = cli;
  const config = commandConfig(cli, flags);
  try {
    const client = await connectClient(cli, flags);
    if (flags.module !== undefined)
      terminal.note("A swarm runs, and its own agents do the work: --module has no effect on it.");
    return { client, own: undefined };
  } catch (error) {
    const meantThatOne = flags.connection !== undefined || config.natsUrl !== undefined;
    if (meantThatOne || !(error instanceof VgasError) || error.code !== "NO_SWARM") throw error;
  }
  terminal.note(`No swarm runs on ${config.home}: starting a private one for this run.`);
  const logger = commandLogger(cli, flags, config);
  const own = await startPrivateSwarm(config, logger);
  try {
    return { client: await connect({ home: own.home, prefix: config.prefix, pool: config.pool, logger }), own };
  } catch (error) {
    await own.stop();
    throw error;
  }
}

/** Says what becomes of tasks whose results were not printed. */
function tellLeft({ terminal }: Cli, { open }: RunCounts, isPrivate: boolean): void {
  if (open === 0) return;
  const tasks = plural(open, "unfinished task");
  if (isPrivate) terminal.note(`${tasks} ended with the private swarm.`);
  else
    terminal.note(
      `${tasks} ${open === 1 ? "is" : "are"} still in the swarm; \`vgas results\` shows what becomes of ${open === 1 ? "it" : "them"}.`,
    );
}

function summary({ ok, failed, refused }: RunCounts, elapsedMs: number): string {
  const parts = [`${count(ok)} ok`];
  if (failed > 0) parts.push(`${count(failed)} failed`);
  if (refused > 0) parts.push(`${plural(refused, "line")} refused`);
  return `${parts.join(", ")} in ${(elapsedMs / 1_000).toFixed(1)} s`;
}

function exitCode({ interrupt, terminal }: Cli, { failed, refused }: RunCounts): number {
  if (interrupt.received !== undefined) return interrupt.exitCode;
  if (terminal.readerGone.aborted) return EXIT.failure;
  return failed + refused === 0 ? EXIT.ok : EXIT.someFailed;
}
