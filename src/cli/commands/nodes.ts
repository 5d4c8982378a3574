import { realpath } from "node:fs/promises";
import type { Command } from "commander";
import { type HomeLayout, layoutOf } from "../../bus/home/layout.ts";
import type { NodeView } from "../../swarm-view/nodes.ts";
import { observeNodes } from "../../swarm-view/observations.ts";
import { Questions } from "../../swarm-view/questions.ts";
import type { Cli } from "../cli.ts";
import { type Neighbour, neighboursOf, type Waiting, waitingAt } from "../neighbours.ts";
import { addSwarmOptions, type SwarmFlags } from "../options.ts";
import { printable, type Style } from "../style.ts";
import { commandConfig, withSwarm } from "../swarm.ts";
import { cut, renderTable } from "../table.ts";

export function addNodes(program: Command, cli: Cli): void {
  addSwarmOptions(program.command("nodes"))
    .summary("the nodes of the swarm and their agents, and who waits to be let in")
    .description(
      "Listens to the nodes for a moment and shows them; on the master's machine also who waits to be let in, and what discovery " +
        "has seen. With --json, one object a line for each.",
    )
    .action(async (flags: SwarmFlags) => {
      const layout = await ownHome(cli, flags);
      const { nodes, neighbours } = await withSwarm(cli, flags, "observer", async ({ bus, names }) => {
        const questions = new Questions();
        const { nodes, rotations } = await observeNodes({ bus, names }, questions);
        const neighbours = layout === undefined ? [] : await neighboursOf(bus, names, layout);
        for (const each of [...rotations.warnings, ...questions.unanswered]) cli.terminal.note(printable(each));
        return { nodes, neighbours };
      });
      const waiting = layout === undefined ? [] : await waitingAt(layout);
      const others = neighbours.filter(({ host }) => !waiting.some((each) => each.host === host));
      const { terminal } = cli;
      if (flags.json) {
        for (const node of [...nodes, ...waiting, ...others]) terminal.data(JSON.stringify(node));
        return;
      }
      if (nodes.length === 0) terminal.note("No node with agents was heard.");
      else terminal.data(nodesText(nodes, cli));
      if (waiting.length > 0) terminal.data(waitingText(waiting, cli));
      if (others.length > 0) terminal.data(neighboursText(others, cli));
    });
}

/** The home, if it is the one that leads the swarm that is meant. */
async function ownHome(cli: Cli, flags: SwarmFlags): Promise<HomeLayout | undefined> {
  const config = commandConfig(cli, flags);
  if (flags.connection !== undefined || config.natsUrl !== undefined) return undefined;
  return await realpath(config.home).then(layoutOf, () => undefined);
}

function waitingText(waiting: readonly Waiting[], { terminal }: Cli): string {
  const table = renderTable(
    [{ title: "WAITS" }, { title: "FINGERPRINT" }, { title: "ADDRESS" }, { title: "MACHINE" }],
    waiting.map(({ host, fingerprint, address, machine }) => [host, fingerprint, address, printable(machine)]),
    { style: terminal.outStyle, width: terminal.outColumns },
  );
  return `\n${table}\nIf the machine shows the same fingerprint: vgas approve NODE --fingerprint F`;
}

function neighboursText(neighbours: readonly Neighbour[], { terminal }: Cli): string {
  const table = renderTable(
    [
      { title: "ON THE NETWORK" },
      { title: "STATE" },
      { title: "MODE" },
      { title: "SWARM" },
      { title: "ADDRESS" },
      { title: "WHY" },
    ],
    neighbours.map(({ host, state, mode, swarm, addresses, port, why }) => [
      ...[printable(host), state, mode, swarm ?? ""],
      `${addresses[0] ?? "?"}:${port}`,
      printable(why ?? ""),
    ]),
    { style: terminal.outStyle, width: terminal.outColumns },
  );
  return `\n${table}`;
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
