/** `vgas drain`: takes a node out of the swarm, after what it runs. */
import { setTimeout as pause } from "node:timers/promises";
import type { Command } from "commander";
import { decode, encode } from "../../bus/codec/codec.ts";
import { Deadline } from "../../bus/deadline.ts";
import { VgasError } from "../../protocols/errors.ts";
import { hostStats } from "../../protocols/host-messages.ts";
import { isToken } from "../../protocols/tokens.ts";
import { fromWireError, type WireError } from "../../protocols/wire-error.ts";
import type { Cli } from "../cli.ts";
import { addExamples } from "../examples.ts";
import { addSwarmOptions, addTimeoutOption, type SwarmFlags } from "../options.ts";
import { type Swarm, withSwarm } from "../swarm.ts";
import { plural } from "../table.ts";

interface Flags extends SwarmFlags {
  readonly timeout?: number;
  readonly force?: true;
}

const ASK_TIMEOUT_MS = 5_000;
const POLL_MS = 250;
/** What a request ends with when nobody is there any more, the nats-server included. */
const GONE: ReadonlySet<string> = new Set(["UNDELIVERABLE", "NO_SWARM", "SHUTTING_DOWN"]);

export function addDrain(program: Command, cli: Cli): void {
  const command = addSwarmOptions(program.command("drain"))
    .summary("let a node finish what it runs, and end")
    .description(
      "Lets a node take nothing new, finish what it runs within its grace, hand the rest back, and end, as SIGTERM does; waits until it has " +
        "left. The node that runs the nats-server of the swarm is refused: its end is that of the swarm.",
    )
    .argument("<node>", "its id, as `vgas nodes` shows it; exit 4 if it does not answer")
    .option("--force", "also the node that runs the nats-server");
  addTimeoutOption(command, "wait no longer than this until it has left; exit 5").action(
    async (node: string, flags: Flags) => {
      if (!isToken(node))
        throw new VgasError("INVALID", `a node's id is a token [A-Za-z0-9_-]{1,64}, got ${JSON.stringify(node)}`);
      const deadline = new Deadline(flags.timeout, cli.interrupt.signal);
      try {
        await withSwarm(cli, flags, "admin", async (swarm) => {
          await begin(swarm, node, flags);
          await hasLeft(cli, swarm, node, deadline.signal);
        });
      } catch (error) {
        if (!deadline.signal.aborted) throw error;
        cli.terminal.note(`Node ${node} still drains, and ends when that is done.`);
        if (deadline.expired)
          throw new VgasError("TIMEOUT", `the drain of ${node} timed out after ${flags.timeout} ms`, { cause: error });
        cli.exitCode = cli.interrupt.exitCode;
        return;
      } finally {
        deadline.clear();
        cli.terminal.progress(undefined);
      }
      if (flags.json) cli.terminal.data(JSON.stringify({ node, drained: true }));
      else cli.terminal.note(`Node ${node} has left.`);
    },
  );
  addExamples(command, [
    ["vgas drain n3k5m7abcd", "waits until it has left"],
    ["vgas drain n3k5m7abcd --timeout 2m", "no longer than that; it goes on draining"],
  ]);
}

async function begin({ bus, names }: Swarm, node: string, { force }: Flags): Promise<void> {
  const body = encode({ v: 1, ...(force && { force }) });
  try {
    const { data } = await bus.request(`drain ${node}`, names.host(node, "drain"), body, { timeoutMs: ASK_TIMEOUT_MS });
    const { error } = decode(data) as { readonly error?: WireError };
    if (error !== undefined) throw fromWireError(error);
  } catch (error) {
    if (!(error instanceof VgasError) || error.code !== "UNDELIVERABLE") throw error;
    throw new VgasError("NOT_FOUND", `no node ${node} is in the swarm: \`vgas nodes\` shows those that are`);
  }
}

/** Resolves when the node answers no more: its agents are the last that it stops. */
async function hasLeft(cli: Cli, { bus, names }: Swarm, node: string, signal: AbortSignal): Promise<void> {
  const subject = names.host(node, "stats");
  for (;;) {
    try {
      const options = { timeoutMs: ASK_TIMEOUT_MS, signal };
      const { data } = await bus.request(`asking ${node}`, subject, new Uint8Array(0), options);
      const stats = hostStats.safeParse(decode(data));
      const running = stats.success ? stats.data.running.reduce((sum, each) => sum + each, 0) : 0;
      cli.terminal.progress(`${node} drains: ${plural(running, "task")} left`);
    } catch (error) {
      if (error instanceof VgasError && GONE.has(error.code)) return;
      throw error;
    }
    await pause(POLL_MS, undefined, { signal });
  }
}
