/**
 * Runs a node in the foreground until it is told to stop or ends by itself.
 *
 * 1. The ready line is the only thing on standard output, and is written when the node takes tasks.
 * 2. The first signal drains, also when it comes while the node starts; the second ends the process at once (interrupt.ts).
 */
import type { Config } from "../config.ts";
import type { HostOptions } from "../host.ts";
import type { Cli } from "./cli.ts";
import { createLogger } from "./logging.ts";

export interface ForegroundOptions {
  readonly config: Config;
  readonly connection?: HostOptions["connection"];
  readonly membership?: HostOptions["membership"];
  readonly joins?: boolean;
  readonly vaultPassphrase?: HostOptions["vaultPassphrase"];
  readonly json: boolean;
}

/** @throws VgasError what `startHost` throws, or what ended the node */
export async function runInForeground(
  cli: Cli,
  { config, connection, membership, joins = false, vaultPassphrase, json }: ForegroundOptions,
): Promise<void> {
  const { terminal, interrupt } = cli;
  const logger = createLogger(terminal, config.logLevel, "auto");
  const asked = new Promise<void>((resolve) => {
    interrupt.signal.addEventListener("abort", () => resolve(), { once: true });
  });
  const say = (text: string): void => {
    if (config.logLevel !== "silent") terminal.note(`vgas: ${text}`);
  };
  const tellStart = (): void =>
    say(`${interrupt.received}: stops as soon as it has started; the next signal ends it at once`);
  interrupt.signal.addEventListener("abort", tellStart, { once: true });
  // Only here: most commands start no node, and loading one would take them longer than all they do.
  const { startHost } = await import("../host.ts");
  const host = await startHost({ config, connection, membership, joins, vaultPassphrase, logger });
  interrupt.signal.removeEventListener("abort", tellStart);
  const { url, http, hostId, lan } = host;
  if (json) terminal.data(JSON.stringify({ event: "ready", url, http, hostId }));
  else terminal.data(`ready ${url}${http === undefined ? "" : `  ${http}`}  node ${hostId}`);
  if (lan !== undefined && lan.doors.length > 0)
    say(
      `swarm ${lan.swarmId}: other machines find it by mDNS, or with --peer ${lan.doors.join(" or ")}; vgas token create lets them in`,
    );
  const ended = await Promise.race([host.done, asked.then(() => "asked" as const)]);
  if (ended === "asked") {
    const seconds = Math.round(config.graceMs / 1_000);
    say(`${interrupt.received}: draining; what runs has ${seconds} s to finish. The next signal ends it at once`);
    await host.stop();
    say("stopped");
  } else if (ended !== undefined) throw ended;
}
