/**
 * A node on a broker that is there already. Its argument is a `NodeShape` as JSON. Sent SIGUSR2 it prints its memory after a
 * collection, as JSON on one line.
 */
import { defineAgent, startHost } from "vgas";
import { startNode } from "../node.ts";
import type { Memory, NodeShape } from "./nodes.ts";

const shape = JSON.parse(process.argv[2] ?? "") as NodeShape;
const groups = shape.shared ? [shape.kinds] : shape.kinds.map((kind) => [kind]);
const agents = groups.map((kinds) =>
  defineAgent({ kinds, instances: shape.agents, slots: shape.slots, run: async ({ input }) => input }),
);
await startNode(startHost, shape, { agents: 0, roles: [...shape.roles] }, { agents });
process.on("SIGUSR2", () => {
  // Twice: what a finaliser lets go of is collected by the second.
  globalThis.gc?.();
  globalThis.gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  console.log(JSON.stringify({ heap: heapUsed + external, rss } satisfies Memory));
});
console.log("ready");
