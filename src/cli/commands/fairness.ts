import type { Command } from "commander";
import { type LaneFairness, readFairness } from "../../fairness.ts";
import type { Cli } from "../cli.ts";
import { addSwarmOptions, type SwarmFlags } from "../options.ts";
import { printable } from "../style.ts";
import { withSwarm } from "../swarm.ts";
import { count, plural, renderTable } from "../table.ts";

/** Most agents of a lane that are shown on a terminal. */
const SHOWN_AGENTS = 24;

export function addFairness(program: Command, cli: Cli): void {
  addSwarmOptions(program.command("fairness"))
    .summary("how evenly the turns of each lane fell")
    .description("Shows the rotation of each lane: the turns of every agent, and what became of them.")
    .action(async (flags: SwarmFlags) => {
      const { lanes, warnings } = await withSwarm(cli, flags, "observer", ({ bus, names }) => readFairness(bus, names));
      const { terminal } = cli;
      for (const warning of warnings) terminal.note(printable(warning));
      if (flags.json) for (const lane of lanes) terminal.data(JSON.stringify(lane));
      else if (lanes.length === 0) terminal.note("No lane has had a turn yet.");
      else terminal.data(lanes.map((lane) => laneText(lane, cli)).join("\n\n"));
      const unknown = new Set(
        lanes.flatMap(({ agents }) => agents.filter(({ tickets }) => tickets === null).map(({ host }) => host)),
      );
      for (const host of unknown) terminal.note(`Node ${printable(host)} did not answer: its tickets are not known.`);
    });
}

function laneText(lane: LaneFairness, { terminal }: Cli): string {
  const { outStyle: style, outColumns: width } = terminal;
  const title = style.bold(printable(`${lane.pool}.${lane.kind}`));
  const drawn = `${plural(lane.index - lane.base, "ticket")} of ${count(lane.index)} drawn over this roster`;
  const heading = `${title}  ${drawn}, ${plural(lane.agents.length, "agent")}, skew ${lane.skew}`;
  if (lane.agents.length === 0) return heading;
  const shown = width === undefined ? lane.agents : lane.agents.slice(0, SHOWN_AGENTS);
  const table = renderTable(
    [
      { title: "AGENT" },
      { title: "TURNS", align: "right" },
      { title: "TICKETS", align: "right" },
      { title: "SKIPPED", align: "right" },
    ],
    shown.map(({ agent, turns, tickets, skipped }) => [agent, turns, tickets ?? "?", skipped ?? "?"]),
    { style, width },
  );
  const left = lane.agents.length - shown.length;
  return `${heading}\n${table}${left > 0 ? `\n… and ${plural(left, "agent")} more; --json shows all` : ""}`;
}
