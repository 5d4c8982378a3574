/** What a home's broker runs with: the package's nats-server.conf as it is, and the home's own values as variables. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { diskError, writeWhole } from "../home/files.ts";
import type { HomeLayout } from "../home/layout.ts";
import { type NatsServerBinary, PACKAGE_ROOT } from "./locate.ts";

/** `process`: what a killed process had acknowledged survives. `power`: so does what a power cut interrupts, at a price. */
export type Durability = "process" | "power";

/** How often the store is synced to the disk: what a power cut can cost with `process`. A killed process costs nothing. */
const SYNC_INTERVAL = { process: "1s", power: "always" } as const satisfies Record<Durability, string>;

/**
 * How late its timers may be (timer-slack.ts). Where each write is forced to the disk the system's default stays: another thread gets the
 * place of one that waits for the disk only after that long, and arrays of 100 were slower by a third and more.
 */
const TIMER_SLACK_NS: Readonly<Record<Durability, number | undefined>> = { process: 500_000, power: undefined };

/** Passed on besides the variables below; nothing else, for the environment of a node can hold provider keys. */
const PASSED_ON = ["PATH", "TZ", "TMPDIR", "SYSTEMROOT", "GOMEMLIMIT", "GOMAXPROCS", "GOGC", "GODEBUG"];

export interface Configuration {
  /** Text of nats-server.conf. */
  readonly text: string;
  /** Digest of everything that makes a running broker the right one, except its port. */
  readonly digest: string;
  readonly timerSlackNs: number | undefined;
  environment(port: number): NodeJS.ProcessEnv;
}

export interface ConfigurationOptions {
  readonly layout: HomeLayout;
  readonly binary: NatsServerBinary;
  readonly hostId: string;
  readonly host: string;
  readonly durability: Durability;
  /** Name in its certificate; undefined for a broker without TLS. The certificate itself may change under a running broker. */
  readonly serverName?: string | undefined;
}

export async function configurationOf(options: ConfigurationOptions): Promise<Configuration> {
  const { layout, binary, hostId, host, durability, serverName = null } = options;
  const path = join(PACKAGE_ROOT, "nats-server.conf");
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw diskError(error, `read ${path}`);
  });
  // The server parses a variable as it parses a value, so strings are quoted; paths hold no control characters (openHome).
  const values = {
    VGAS_SERVER_NAME: JSON.stringify(hostId),
    VGAS_HOST: JSON.stringify(host),
    VGAS_STORE_DIR: JSON.stringify(layout.nats.store),
    VGAS_LOG_FILE: JSON.stringify(layout.nats.log),
    VGAS_SYNC_INTERVAL: JSON.stringify(SYNC_INTERVAL[durability]),
  };
  const digest = createHash("sha256")
    .update(JSON.stringify([text, values, binary, serverName]))
    .digest("hex");
  return {
    text,
    digest,
    timerSlackNs: TIMER_SLACK_NS[durability],
    environment: (port) => ({
      ...Object.fromEntries(
        PASSED_ON.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
      ),
      ...values,
      VGAS_PORT: String(port),
    }),
  };
}

/** Puts the configuration into the home, beside the files that it includes. */
export async function installConfiguration(layout: HomeLayout, configuration: Configuration): Promise<void> {
  await writeWhole(layout.nats.config, configuration.text);
}
