import type { Command } from "commander";
import { type LaneState, readHealth, type SwarmState } from "../../swarm-view/health.ts";
import type { VaultHealth } from "../../swarm-view/observations.ts";
import type { Cli } from "../cli.ts";
import { addSwarmOptions, type SwarmFlags } from "../options.ts";
import { printable } from "../style.ts";
import { withSwarm } from "../swarm.ts";
import { age, bytes, count, plural, renderTable } from "../table.ts";

export function addStatus(program: Command, cli: Cli): void {
  addSwarmOptions(program.command("status"))
    .summary("how the swarm is doing")
    .description(
      "Shows whether the swarm works, what it offers, and what waits. A message is a task or an array of tasks.",
    )
    .action(async (flags: SwarmFlags) => {
      const state = await withSwarm(cli, flags, "observer", readHealth);
      for (const warning of state.warnings) cli.terminal.note(printable(warning));
      if (flags.json) cli.terminal.data(JSON.stringify(state));
      else cli.terminal.data(statusText(state, cli));
    });
}

function statusText(state: SwarmState, { terminal }: Cli): string {
  const { outStyle: style, outColumns: width } = terminal;
  const health = state.health === "ok" ? style.green("ok") : style.red("degraded");
  const results = state.streams.find(({ name }) => name.endsWith("_RESULTS"));
  const room = results === undefined ? "" : ` (${bytes(results.bytes)} of ${bytes(results.maxBytes)})`;
  const lines = [
    `swarm    ${health}`,
    ...state.reasons.flatMap((reason, i) => [
      `         ${style.red("!")} ${printable(reason)}`,
      `           ${style.dim(printable(state.remedies[i] ?? ""))}`,
    ]),
    `broker   ${state.url}, prefix ${state.prefix}`,
    `nodes    ${count(state.nodes)} with ${plural(state.agents, "agent")}, ${count(state.running)} of ${plural(state.slots, "slot")} in use`,
    `results  ${count(state.results)} stored${room}`,
    `dead     ${plural(state.dead, "dead letter")}`,
  ];
  if (state.vault !== undefined) lines.push(`vault    ${vaultText(state.vault)}`);
  if (state.lanes.length > 0) lines.push("", laneTable(state.lanes, style, width));
  if (state.unoffered.length > 0) {
    lines.push("", style.yellow("Nobody offers these, so their tasks wait until somebody does:"));
    for (const { pool, kind, waiting, inHand } of state.unoffered) {
      const waits = waiting + inHand === 1 ? "waits" : "wait";
      lines.push(`  ${plural(waiting + inHand, "message")} of kind ${kind} in pool ${pool} ${waits}`);
    }
    lines.push("Start an agent for them: `vgas join --module FILE`, or `vgas up --module FILE`.");
  }
  return lines.join("\n");
}

const WHAT_TO_DO: Readonly<Partial<Record<VaultHealth["state"], string>>> = {
  sealed: ": `vgas vault unseal` opens it",
  uninitialised: ": `vgas vault init` makes it",
};

function pausedText({ paused }: LaneState): string {
  if (paused === undefined) return "";
  return `paused${paused.by === undefined ? "" : ` by ${paused.by}`}: \`vgas resume\``;
}

function vaultText({ state, host }: VaultHealth): string {
  return `${state}${WHAT_TO_DO[state] ?? ""}${host === undefined ? "" : `, on node ${printable(host)}`}`;
}

function laneTable(lanes: readonly LaneState[], style: Cli["terminal"]["outStyle"], width: number | undefined): string {
  return renderTable(
    [
      { title: "LANE" },
      { title: "AGENTS", align: "right" },
      { title: "WAITING", align: "right" },
      { title: "IN HAND", align: "right" },
      { title: "OLDEST", align: "right" },
      { title: "" },
    ],
    lanes.map((lane) => [
      ...[`${lane.pool}.${lane.kind}`, lane.agents, lane.waiting, lane.inHand],
      lane.oldestAt === undefined ? "" : age(Date.now() - lane.oldestAt),
      pausedText(lane),
    ]),
    { style, width },
  );
}
