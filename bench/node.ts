/** How the programs of benchmarks start a node on a broker that is there already. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConfigInput, resolveConfig } from "../src/config.ts";
import type { Host, startHost } from "../src/host.ts";

/** As whoever starts the program hands it over. */
export interface Credential {
  readonly url: string;
  readonly seed: string;
  readonly inboxPrefix: string;
}

/** With a temporary home. It ends, and removes that, at SIGTERM. `start` is the build's startHost, or that of the sources. */
export async function startNode(
  start: typeof startHost,
  { url, seed, inboxPrefix }: Credential,
  settings: ConfigInput,
  more: Pick<Parameters<typeof startHost>[0], "agents"> = {},
): Promise<Host> {
  const home = mkdtempSync(join(tmpdir(), "vgas-bench-node-"));
  const connection = {
    url,
    user: inboxPrefix.slice("_INBOX.".length),
    inboxPrefix,
    seed: new TextEncoder().encode(seed),
    ca: undefined,
  };
  const host = await start({ config: resolveConfig({ home, ...settings }, {}), connection, ...more });
  process.on("SIGTERM", async () => {
    await host.stop(1_000);
    rmSync(home, { recursive: true, force: true });
    process.exit(0);
  });
  return host;
}
