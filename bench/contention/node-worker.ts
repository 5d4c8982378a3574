/**
 * A node of one role, on a broker that is there already: a dispatcher without agents, or agents without a dispatcher. A dispatcher is
 * ready when it has heard a host. Sent SIGUSR2 it prints what it counted, as one line of JSON.
 *
 * Arguments: url, seed, inbox prefix, role, agents, slots.
 */
import { setTimeout as pause } from "node:timers/promises";
import { type Config, type Host, startHost } from "vgas";
import { startNode } from "../node.ts";
import type { Counts } from "./counts.ts";

const [url = "", seed = "", inboxPrefix = "", role = "dispatcher", agents = "16", slots = "64"] = process.argv.slice(2);
const roles: Config["roles"] = role === "dispatcher" ? ["dispatcher", "http"] : ["agents"];
const host = await startNode(
  startHost,
  { url, seed, inboxPrefix },
  { agents: Number(agents), slots: Number(slots), roles, httpPort: 0 },
);
while (role === "dispatcher" && (host.status().dispatcher?.hosts["up"] ?? 0) === 0) await pause(10);
process.on("SIGUSR2", async () => console.log(JSON.stringify(await countsOf(host))));
console.log("ready");

async function countsOf({ http }: Host): Promise<Counts> {
  // Only dispatchers tell of a rotation.
  const text = http === undefined ? "" : await (await fetch(`${http}/metrics`)).text();
  const { user, system } = process.cpuUsage();
  const read = (name: string): number =>
    Number(new RegExp(`^${name}\\{[^}]*kind="echo"[^}]*\\} (\\d+)`, "m").exec(text)?.[1] ?? 0);
  return {
    tickets: read("vgas_tickets_total"),
    skipped: read("vgas_turns_skipped_total"),
    swaps: read("vgas_cas_tries_total"),
    lost: read("vgas_cas_conflicts_total"),
    cpuUs: user + system,
  };
}
