/**
 * The process that runs an isolated behaviour: an entry of its own, started by `pool.ts` with the node's pid.
 *
 * 1. It ends with its node, however that ended: by its channel, and by a thread that looks for the node, because a behaviour may
 *    block the loop for ever.
 * 2. What a behaviour does to this process touches no other task.
 */
import { Worker } from "node:worker_threads";
import { encode } from "../../../bus/codec/codec.ts";
import { loadAgents } from "../../../modules.ts";
import { systemClock } from "../../../protocols/clock.ts";
import { ERRORS, TaskError } from "../../../protocols/errors.ts";
import { fromWireError, toWireError } from "../../../protocols/wire-error.ts";
import type { ResolvedAgent } from "../resolve.ts";
import type { FromProcess, RunMessage, ToProcess } from "./messages.ts";
import { ProcessContext } from "./process-context.ts";

/** How often the thread looks whether the node is still there, ms. */
const LOOK_MS = 250;
/** Of a definition only `run` is used here. */
const DEFAULTS = { pool: "default", slots: 1 };

const WATCHDOG = `
  const { workerData } = require("node:worker_threads");
  setInterval(() => { if (process.ppid !== workerData.node) process.kill(-process.pid, "SIGKILL"); }, workerData.everyMs);
`;

const agents = new Map<string, Promise<readonly ResolvedAgent[]>>();
let current: ProcessContext | undefined;

process.on("disconnect", () => process.exit(0));
new Worker(WATCHDOG, { eval: true, workerData: { node: Number(process.argv.at(-1)), everyMs: LOOK_MS } }).unref();
process.on("message", (message: ToProcess) => {
  if (message.type === "run") void run(message);
  else if (message.type === "abort") {
    if (current?.run === message.run) current.abort(errorOf(message.error));
  } else current?.answered(message);
});

async function run(message: RunMessage): Promise<void> {
  const context = new ProcessContext(message, send, systemClock);
  current = context;
  try {
    const output = await (await agentOf(message)).run(message.task, context);
    context.over();
    send({ type: "ended", run: message.run, output: output === undefined ? undefined : encode(output) });
  } catch (thrown) {
    context.over();
    send({ type: "failed", run: message.run, error: toWireError(thrown) });
  }
}

async function agentOf({ module: { file, index } }: RunMessage): Promise<ResolvedAgent> {
  let loading = agents.get(file);
  if (loading === undefined) {
    loading = loadAgents([file], DEFAULTS);
    agents.set(file, loading);
  }
  const agent = (await loading)[index];
  if (agent === undefined) throw new Error(`${file} no longer exports an agent at place ${index}`);
  return agent;
}

function errorOf(wire: Parameters<typeof fromWireError>[0]): Error {
  return wire.code in ERRORS ? fromWireError(wire) : new TaskError(wire.code, wire.message, wire);
}

function send(message: FromProcess): void {
  // A channel that is gone ends the process.
  if (process.connected) process.send?.(message);
}
