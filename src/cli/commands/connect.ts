/** `vgas connect`: makes this machine a client of a swarm that another one leads. */
import type { Command } from "commander";
import { type Home, openHome } from "../../bus/home/home.ts";
import { type Membership, readMembership } from "../../bus/home/membership.ts";
import { browse } from "../../client/browse.ts";
import { systemClock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import { isNodeRole } from "../../protocols/roles.ts";
import { refuseLeadersHome } from "../admission-home.ts";
import type { Cli } from "../cli.ts";
import { enrolText, teller } from "../enrol-progress.ts";
import { addHomeOption, addPeerOption, addTimeoutOption, type NodeFlags } from "../options.ts";
import { commandConfig, commandLogger } from "../swarm.ts";
import { addTokenOption, requireToken, type TokenFlags } from "../token-input.ts";

interface Flags extends NodeFlags, TokenFlags {
  readonly timeout?: number;
}

/** A swarm on the network answers within a second or two; one that starts, within some more. */
const DEFAULT_TIMEOUT_MS = 60_000;

const EXAMPLES = `
Examples:
  vgas connect --token-file token                          found by mDNS
  vgas connect --token-file token --peer 192.168.1.5:8080  without mDNS
  vgas submit echo '{"hello":1}' --wait                    from then on

On the swarm's machine: vgas token create --role client`;

export function addConnect(program: Command, cli: Cli): void {
  const command = addHomeOption(program.command("connect"))
    .summary("become a client of a swarm on another machine")
    .description(
      "Takes a token of role client, observer or guest, finds its swarm, and keeps the credential in the home: commands on this home " +
        "reach that swarm from then on. Prints what a client library needs, as `vgas connection` does.",
    )
    .option("--no-mdns", "do not look for the swarm by mDNS [VGAS_MDNS]")
    .option("--log-level <level>", "debug, info, warn, error or silent [VGAS_LOG_LEVEL]")
    .option("--json", "errors as JSON; the output is")
    .addHelpText("after", EXAMPLES);
  addTimeoutOption(addPeerOption(addTokenOption(command)), "give up after this (default: 1m)").action(
    async (flags: Flags) => {
      const config = commandConfig(cli, flags);
      const home = await openHome(config.home);
      const say = teller(cli.terminal);
      await refuseNodesHome(home);
      // Two at once would write one membership.
      await home.lock();
      let browser: Awaited<ReturnType<typeof browse>> | undefined;
      try {
        const token = await requireToken(cli, flags);
        const logger = commandLogger(cli, flags, config);
        // Only here: most commands let nobody in, and loading it would take them longer.
        const { enrol, peerSource } = await import("../../admission/enrol.ts");
        browser = config.mdns ? await browse(config, home, logger) : undefined;
        const membership = await enrol({
          ...{ home, token, role: "client", logger, clock: systemClock },
          sources: [...(browser === undefined ? [] : [browser.asCandidates()]), peerSource(config.peers)],
          onProgress: (event) => say(enrolText(event)),
          signal: cli.interrupt.signal,
          timeoutMs: flags.timeout ?? DEFAULT_TIMEOUT_MS,
        });
        cli.terminal.data(JSON.stringify(described(home, membership)));
      } finally {
        await browser?.stop();
        await home.release();
      }
    },
  );
}

/** @throws VgasError CONFIG if the home is a node's: as a client it would be two things at once */
async function refuseNodesHome(home: Home): Promise<void> {
  const { dir, layout } = home;
  await refuseLeadersHome(home);
  const membership = await readMembership(layout);
  if (membership !== undefined && isNodeRole(membership.role)) {
    throw new VgasError(
      "CONFIG",
      `the home ${dir} is a node's of the swarm ${membership.swarmId}; give a client its own --home`,
    );
  }
}

/** As `vgas connection` prints it. */
function described({ layout }: Home, { urls, inboxPrefix, serverName, role }: Membership): object {
  return {
    url: urls.join(","),
    nkeySeedFile: layout.membership.seed,
    caFile: layout.membership.caCertificate,
    serverName,
    inboxPrefix,
    role,
  };
}
