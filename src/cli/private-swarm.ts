/**
 * A swarm of one node for the duration of a command: a temporary home, free ports, and nothing left behind.
 *
 * 1. `stop` ends the node and removes the home; idempotent, and works whatever state the node is in.
 * 2. A process that ends without `stop` (a second signal) removes the home too, as far as an exit handler can.
 */
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Config } from "../config.ts";
import type { Host } from "../host.ts";
import type { Logger } from "../protocols/logger.ts";

/** The nats-server may still be writing when the exit handler removes its store. */
const REMOVAL = { recursive: true, force: true, maxRetries: 10, retryDelay: 50 } as const;

export interface PrivateSwarm {
  readonly home: string;
  /** Rejects with what ended it, if it was not asked to. */
  readonly failed: Promise<never>;
  stop(): Promise<void>;
}

/** @throws VgasError what `startHost` throws; nothing is left then */
export async function startPrivateSwarm(config: Config, logger: Logger): Promise<PrivateSwarm> {
  const home = await mkdtemp(join(tmpdir(), "vgas-run-"));
  const removeAtExit = (): void => rmSync(home, REMOVAL);
  process.once("exit", removeAtExit);
  let host: Host;
  try {
    const own = { home, natsPort: 0, httpPort: 0, roles: ["dispatcher" as const, "agents" as const], replicas: 1 };
    // Only here, as in foreground.ts: a swarm that runs is the usual case.
    const { startHost } = await import("../host.ts");
    host = await startHost({ config: { ...config, ...own }, logger });
  } catch (error) {
    process.off("exit", removeAtExit);
    await rm(home, REMOVAL);
    throw error;
  }
  // Again, behind the handler that stops the nats-server: handlers run in the order in which they came.
  process.off("exit", removeAtExit);
  process.once("exit", removeAtExit);
  let stopping: Promise<void> | undefined;
  const failed = new Promise<never>((_, reject) => {
    void host.done.then((error) => {
      if (error !== undefined) reject(error);
    });
  });
  // Whether anybody waits for it or not.
  failed.catch(() => undefined);
  return {
    home,
    failed,
    stop: () => {
      stopping ??= (async () => {
        await host.stop(0);
        await rm(home, REMOVAL);
        process.off("exit", removeAtExit);
      })();
      return stopping;
    },
  };
}
