/**
 * A node with dispatcher and agents in one process, on a broker that is there already. Arguments: url, seed, inbox
 * prefix, agents, slots.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { resolveConfig, startHost } from "vgas";

const [url = "", seed = "", inboxPrefix = "", agents = "16", slots = "64"] = process.argv.slice(2);
const home = mkdtempSync(join(tmpdir(), "vgas-bench-host-"));
const config = resolveConfig(
  { home, agents: Number(agents), slots: Number(slots), roles: ["dispatcher", "agents"] },
  {},
);
const connection = {
  url,
  user: inboxPrefix.slice("_INBOX.".length),
  inboxPrefix,
  seed: new TextEncoder().encode(seed),
  ca: undefined,
};
const host = await startHost({ config, connection });
process.on("SIGTERM", async () => {
  await host.stop(1_000);
  rmSync(home, { recursive: true, force: true });
  process.exit(0);
});
console.log("ready");
