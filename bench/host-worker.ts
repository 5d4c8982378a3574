/**
 * A node with dispatcher and agents in one process, on a broker that is there already. Arguments: url, seed, inbox
 * prefix, agents, slots.
 */
import { startHost } from "vgas";
import { startNode } from "./node.ts";

const [url = "", seed = "", inboxPrefix = "", agents = "16", slots = "64"] = process.argv.slice(2);
await startNode(
  startHost,
  { url, seed, inboxPrefix },
  { agents: Number(agents), slots: Number(slots), roles: ["dispatcher", "agents"] },
);
console.log("ready");
