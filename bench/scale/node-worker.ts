/**
 * A node on a broker that is there already. Its argument is a `NodeShape` as JSON. Sent SIGUSR2 it prints its memory after a
 * collection, as JSON on one line.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineAgent, resolveConfig, startHost } from "vgas";
import type { Memory, NodeShape } from "./nodes.ts";

const shape = JSON.parse(process.argv[2] ?? "") as NodeShape;
const home = mkdtempSync(join(tmpdir(), "vgas-bench-node-"));
const config = resolveConfig({ home, agents: 0, roles: [...shape.roles] }, {});
const connection = {
  url: shape.url,
  user: shape.inboxPrefix.slice("_INBOX.".length),
  inboxPrefix: shape.inboxPrefix,
  seed: new TextEncoder().encode(shape.seed),
  ca: undefined,
};
const groups = shape.shared ? [shape.kinds] : shape.kinds.map((kind) => [kind]);
const agents = groups.map((kinds) =>
  defineAgent({ kinds, instances: shape.agents, slots: shape.slots, run: async ({ input }) => input }),
);
const host = await startHost({ config, connection, agents });
process.on("SIGTERM", async () => {
  await host.stop(1_000);
  rmSync(home, { recursive: true, force: true });
  process.exit(0);
});
process.on("SIGUSR2", () => {
  // Twice: what a finaliser lets go of is collected by the second.
  globalThis.gc?.();
  globalThis.gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  console.log(JSON.stringify({ heap: heapUsed + external, rss } satisfies Memory));
});
console.log("ready");
