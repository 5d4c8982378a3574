import type { Command } from "commander";
import { Deadline } from "../../bus/deadline.ts";
import { Objects } from "../../bus/objects.ts";
import { Publisher } from "../../bus/publisher.ts";
import { lastBySubject } from "../../bus/stored.ts";
import { Outputs } from "../../client/outputs.ts";
import { decodeResult } from "../../client/waiting-results.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { TaskResult } from "../../protocols/result.ts";
import { isToken } from "../../protocols/tokens.ts";
import type { Cli } from "../cli.ts";
import { jsonLine } from "../json.ts";
import { addPoolOption, addSwarmOptions, addTimeoutOption, type SwarmFlags } from "../options.ts";
import { printable, type Style } from "../style.ts";
import { commandConfig, type Swarm, withClient, withSwarm } from "../swarm.ts";
import { cut } from "../table.ts";

interface Flags extends SwarmFlags {
  readonly follow?: boolean;
  readonly timeout?: number;
}

/** Outputs in the object store that a list fetches; of larger ones it shows where they are, and `results ID` prints them. */
const LISTED_BYTES = 4 * 1_048_576;

export function addResults(program: Command, cli: Cli): void {
  const command = addPoolOption(addSwarmOptions(program.command("results")))
    .summary("print stored results")
    .description("Prints the stored results of a pool, oldest first, or the result of one task as JSON.")
    .argument("[id]", "id of a task; exit 4 if it has no result")
    .option("--follow", "go on with the results to come; with an id, wait for its result");
  addTimeoutOption(command, "with --follow: wait no longer than this; exit 5").action(
    async (id: string | undefined, flags: Flags) => {
      try {
        if (id === undefined) await printAll(cli, flags);
        else cli.terminal.data(resultText(await oneResult(cli, id, flags), cli, flags));
      } catch (error) {
        if (!cli.interrupt.explains(error)) throw error;
        cli.exitCode = cli.interrupt.exitCode;
      }
    },
  );
}

async function printAll(cli: Cli, flags: Flags): Promise<void> {
  const { terminal, interrupt } = cli;
  const deadline = new Deadline(flags.follow ? flags.timeout : undefined, interrupt.signal, terminal.readerGone);
  const { signal } = deadline;
  await withClient(cli, flags, async (client) => {
    try {
      const wanted = { pool: client.pool, follow: flags.follow ?? false, maxOutputBytes: LISTED_BYTES, signal };
      for await (const result of client.results(wanted)) {
        if (
          !terminal.data(flags.json ? jsonLine(result) : resultLine(result, terminal.outStyle, terminal.outColumns))
        ) {
          await terminal.drained();
        }
      }
    } catch (error) {
      if (terminal.readerGone.aborted) return;
      if (deadline.expired) {
        throw new VgasError("TIMEOUT", `following the results timed out after ${flags.timeout} ms`, { cause: error });
      }
      throw error;
    } finally {
      deadline.clear();
    }
  });
}

async function oneResult(cli: Cli, id: string, flags: Flags): Promise<TaskResult> {
  const { pool } = commandConfig(cli, flags);
  if (!isToken(id))
    throw new VgasError("INVALID", `a task id is a token [A-Za-z0-9_-]{1,64}, got ${JSON.stringify(id)}`);
  if (flags.follow) {
    const waiting = { signal: cli.interrupt.signal, ...(flags.timeout !== undefined && { timeoutMs: flags.timeout }) };
    return await withClient(cli, flags, (client) => client.handle(pool, id).result(waiting));
  }
  const result = await withSwarm(cli, flags, "client", async (swarm) => {
    const stored = await lastBySubject(swarm.bus, swarm.names.streams.results, swarm.names.result(pool, id));
    const found = stored && decodeResult(stored.data);
    return found?.outputRef === undefined ? found : await withOutput(swarm, found, cli.interrupt.signal);
  });
  if (result !== undefined) return result;
  const message = `no result of task ${id} is stored in pool ${pool}: it has not finished, or its result has expired, or there was none`;
  throw new VgasError("NOT_FOUND", message);
}

/** A guest cannot read the output, and sees where it is. */
async function withOutput({ bus, names }: Swarm, result: TaskResult, signal: AbortSignal): Promise<TaskResult> {
  const publisher = new Publisher(bus);
  try {
    return await new Outputs(new Objects(bus, publisher, names), names).fetch(result, { signal });
  } catch (error) {
    if (error instanceof VgasError && error.code === "PERMISSION_DENIED") return result;
    throw error;
  } finally {
    publisher.close();
  }
}

/** All of one result: JSON on one line, or over several for people. */
function resultText(result: TaskResult, { terminal }: Cli, { json }: Flags): string {
  const line = jsonLine(result);
  return json || terminal.outColumns === undefined ? line : JSON.stringify(JSON.parse(line), undefined, 2);
}

/** One result in short: id, status, kind, how long the attempt took, and the beginning of what came out. */
function resultLine(result: TaskResult, style: Style, width: number | undefined): string {
  const { id, status, kind, startedAt, finishedAt, error } = result;
  const took = startedAt === undefined ? "" : `${Math.max(0, finishedAt - startedAt)} ms`;
  const what =
    error === undefined ? jsonLine(result.output ?? result.outputRef ?? null) : `${error.code}: ${error.message}`;
  const before = `${id.padEnd(20)}  `;
  const after = `  ${kind}  ${took.padStart(6)}  ${printable(what)}`;
  const coloured = status === "ok" ? style.green(status.padEnd(9)) : style.red(status.padEnd(9));
  return `${before}${coloured}${cut(after, width === undefined ? undefined : width - before.length - 9)}`;
}
