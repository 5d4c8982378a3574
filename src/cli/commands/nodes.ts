import type { Command } from "commander";
import { readRotations } from "../../bus/rotations.ts";
import type { Cli } from "../cli.ts";
import { type NodeView, nodeViews, rosterHosts } from "../nodes.ts";
import { addSwarmOptions, type SwarmFlags } from "../options.ts";
import { rollCall } from "../roll-call.ts";
import { printable, type Style } from "../style.ts";
import { withSwarm } from "../swarm.ts";
import { cut, renderTable } from "../table.ts";

export function addNodes(program: Command, cli: Cli): void {
  addSwarmOptions(program.command("nodes"))
    .summary("the nodes of the swarm and their agents")
    .description("Listens to the nodes for a moment and shows them; with --json, one object a line for each.")
    .action(async (flags: SwarmFlags) => {
      const nodes = await withSwarm(cli, flags, "observer", async ({ bus, names }) => {
        const lanes = await readRotations(bus, names);
        return nodeViews(await rollCall(bus, names, rosterHosts(lanes)), lanes);
      });
      const { terminal } = cli;
      if (flags.json) for (const node of nodes) terminal.data(JSON.stringify(node));
      else if (nodes.length === 0) terminal.note("No node with agents was heard.");
      else terminal.data(nodesText(nodes, cli));
    });
}

function nodesText(nodes: readonly NodeView[], { terminal }: Cli): string {
  const { outStyle: style, outColumns: width } = terminal;
  const [heading = "", ...rows] = nodeTable(nodes, style, width).split("\n");
  const offers = nodes.map(({ lanes }) => style.dim(cut(`  offers ${printable(lanes.join(" "))}`, width)));
  return [heading, ...rows.flatMap((row, i) => [row, offers[i] ?? ""])].join("\n");
}

function nodeTable(nodes: readonly NodeView[], style: Style, width: number | undefined): string {
  return renderTable(
    [
      { title: "NODE" },
      { title: "STATE" },
      { title: "AGENTS", align: "right" },
      { title: "RUNNING", align: "right" },
      { title: "DONE", align: "right" },
      { title: "FAILED", align: "right" },
      { title: "LAG ms", align: "right" },
      { title: "MACHINE" },
    ],
    nodes.map((node) => [
      node.host,
      node.state,
      node.agents,
      node.running === undefined ? "?" : `${node.running}/${node.slots}`,
      node.finished ?? "?",
      node.failed ?? "?",
      node.lagMs === undefined ? "?" : Math.round(node.lagMs),
      node.machine === undefined ? "?" : `${node.machine}:${node.pid}`,
    ]),
    { style, width },
  );
}
