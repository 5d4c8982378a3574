/** `vgas task`: where a task is. */
import type { Command } from "commander";
import { VgasError } from "../../protocols/errors.ts";
import type { TaskState } from "../../protocols/task-state.ts";
import type { Cli } from "../cli.ts";
import { addExamples } from "../examples.ts";
import { type LimitFlags, limits } from "../limits.ts";
import { addPoolOption, addSwarmOptions, addTimeoutOption, type SwarmFlags } from "../options.ts";
import { printable } from "../style.ts";
import { withClient } from "../swarm.ts";
import { time } from "./vault/text.ts";

type Flags = SwarmFlags & LimitFlags;

export function addTask(program: Command, cli: Cli): void {
  const command = addPoolOption(addSwarmOptions(program.command("task")))
    .summary("show where a task is")
    .description(
      "Says whether a task waits, runs (and where) or has finished. Exit 4 if nothing is known under that id.",
    )
    .argument("<id>", "id of the task");
  addTimeoutOption(command, "give up after this (default: 10s); exit 5").action(async (id: string, flags: Flags) => {
    const state = await withClient(cli, flags, (client) => client.status(client.pool, id, limits(cli, flags)));
    if (state.state === "unknown") {
      throw new VgasError(
        "NOT_FOUND",
        `nothing is known of task ${id} in pool ${state.pool}: it never was there, its result has expired, or it is too far back in the queue (\`vgas tasks list\`)`,
      );
    }
    cli.terminal.data(flags.json ? JSON.stringify(state) : stateText(state));
  });
  addExamples(command, [
    ["vgas task s1042", "where it is"],
    ["vgas task s1042 --json", "for scripts: state is waiting, running or finished"],
  ]);
}

function stateText(state: Exclude<TaskState, { state: "unknown" }>): string {
  const { id, kind } = state;
  const because =
    "error" in state && state.error ? `: ${printable(`${state.error.code}: ${state.error.message}`)}` : "";
  if (state.state === "waiting") {
    const since = `since ${time(state.submittedAt)}`;
    const from = state.notBefore === undefined ? "" : `, not to start before ${time(state.notBefore)}`;
    const before = state.attempts === 0 ? "" : `, after ${state.attempts} of its attempts${because}`;
    return `${id}  waiting  ${kind}  priority ${state.priority}, ${since}${from}${before}`;
  }
  if (state.state === "running")
    return `${id}  running  ${kind}  attempt ${state.attempt} on agent ${state.agent}, since ${time(state.startedAt)}`;
  return `${id}  ${state.status}  ${kind}  attempt ${state.attempt}, at ${time(state.finishedAt)}${because}`;
}
