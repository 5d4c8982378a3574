/** Makes this home a member of a swarm, or finds the swarm again that it is a member of. */
import { Discovery } from "../actors/discovery/discovery.ts";
import { type CandidateSource, type EnrolEvent, enrol, findAgain, peerSource } from "../admission/enrol.ts";
import type { Token } from "../admission/token.ts";
import { connectBus } from "../bus/connection.ts";
import { type Home, openHome } from "../bus/home/home.ts";
import { type Membership, readMembership, updateAddresses } from "../bus/home/membership.ts";
import type { Config } from "../config.ts";
import { systemClock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import type { Role } from "../protocols/roles.ts";
import type { Cli } from "./cli.ts";
import { UsageError } from "./failure.ts";
import { createLogger } from "./logging.ts";
import { printable } from "./style.ts";
import { readToken, type TokenFlags } from "./token-input.ts";

export interface MemberOptions {
  readonly config: Config;
  readonly flags: TokenFlags & { readonly timeout?: number };
  /** What is asked for where there is no token; a token says it itself. */
  readonly role: Role;
}

/** One search for a master that has moved. */
const SEARCH_MS = 5_000;

/**
 * The membership of the home, proved to be good: the stored one, or one that the swarm gives now. Waits for the swarm to be
 * there, and for its operator, until `flags.timeout`.
 *
 * @throws VgasError TIMEOUT, ABORTED, and why the swarm does not let this home in
 */
export async function becomeMember(cli: Cli, { config, flags, role }: MemberOptions): Promise<Membership> {
  const home = await openHome(config.home);
  await home.lock();
  const signal = limited(cli, flags.timeout);
  const logger = createLogger(cli.terminal, config.logLevel, "auto");
  const browser = config.mdns ? await browse(config, home, logger) : undefined;
  const sources = [...(browser ? [browser.asCandidates()] : []), peerSource(config.peers)];
  const say = (text: string): void => cli.terminal.note(`vgas: ${text}`);
  try {
    const stored = await readMembership(home.layout);
    if (stored !== undefined) {
      refuseOther(stored, await readToken(cli, flags, { ask: false }), config);
      return await reach(home, stored, [...sources, peerSource(stored.doors)], { signal, logger, say });
    }
    if (browser === undefined && config.peers.length === 0) {
      throw new UsageError(
        "join needs to know which swarm: give --connection FILE or --peer HOST:PORT, or leave --no-mdns out",
        "On the swarm's machine: `vgas token create`, or `vgas connection --role worker --inline > FILE` for --connection.",
      );
    }
    const token = await readToken(cli, flags, { ask: true });
    say(token === undefined ? "looking for a swarm on this network" : `looking for the swarm ${token.swarmId}`);
    const onProgress = (event: EnrolEvent): void => say(textOf(event));
    return await enrol({ home, token, role, sources, onProgress, signal, clock: systemClock, logger });
  } catch (error) {
    if (signal.aborted && !cli.interrupt.signal.aborted)
      throw new VgasError("TIMEOUT", `joining timed out after ${flags.timeout} ms`, { cause: error });
    throw error;
  } finally {
    await browser?.stop();
    await home.release();
  }
}

function limited({ interrupt }: Cli, timeoutMs: number | undefined): AbortSignal {
  return timeoutMs === undefined
    ? interrupt.signal
    : AbortSignal.any([interrupt.signal, AbortSignal.timeout(timeoutMs)]);
}

async function browse(config: Config, { hostId }: Home, logger: Logger): Promise<Discovery> {
  const browser = new Discovery({
    self: { hostId, mode: "slave", httpPort: config.httpPort },
    advertise: false,
    interfaces: config.interfaces,
    clock: systemClock,
    random: Math.random,
    logger,
  });
  await browser.start();
  return browser;
}

/** A home belongs to one swarm: a token for another is a mistake, and not one to be passed over. */
function refuseOther({ swarmId, role }: Membership, token: Token | undefined, { home }: Config): void {
  if (token !== undefined && token.swarmId !== swarmId) {
    const message = `the home ${home} is a member of the swarm ${swarmId}, and the token is for ${token.swarmId}`;
    throw new VgasError("CONFIG", `${message}; give this node another --home`);
  }
  if (role !== "worker" && role !== "dispatcher")
    throw new VgasError("CONFIG", `the home ${home} is a ${role}'s; a node needs a --home of its own`);
}

interface Ways {
  readonly signal: AbortSignal;
  readonly logger: Logger;
  readonly say: (text: string) => void;
}

/** Connects once to see that the credential is good; looks for the master elsewhere while nobody answers. */
async function reach(
  home: Home,
  stored: Membership,
  sources: readonly CandidateSource[],
  { signal, logger, say }: Ways,
): Promise<Membership> {
  let membership = stored;
  for (let told = false; ; told = true) {
    signal.throwIfAborted();
    try {
      const { user, seed, inboxPrefix, ca, serverName } = membership;
      const url = membership.urls.join(",");
      const bus = await connectBus({ url, seed, inboxPrefix, ca, serverName, name: user, logger });
      await bus.close();
      return membership;
    } catch (error) {
      if (!(error instanceof VgasError)) throw error;
      if (error.code === "PERMISSION_DENIED") throw revoked(home, stored, error);
      if (error.code !== "NO_SWARM" && error.code !== "CERTIFICATE_MISMATCH") throw error;
      if (!told) say(`the swarm ${stored.swarmId} is not there (${error.message}); waiting for it`);
    }
    const found = await findAgain(membership, sources, { signal, timeoutMs: SEARCH_MS });
    if (found === undefined) continue;
    membership = { ...membership, ...found };
    await updateAddresses(home.layout, found);
  }
}

function revoked({ dir }: Home, { swarmId, user }: Membership, cause: VgasError): VgasError {
  const message = `the swarm ${swarmId} refuses the credential of ${user}: the node was revoked`;
  return new VgasError(
    "NODE_REVOKED",
    `${message}; to come back it needs a new token and an empty --home (this one: ${dir})`,
    {
      cause,
    },
  );
}

function textOf(event: EnrolEvent): string {
  const where = printable("where" in event ? event.where : "");
  switch (event.type) {
    case "pending":
      return `waiting to be let in. Fingerprint ${event.fingerprint}; if the swarm's side shows the same: vgas approve ${event.user}`;
    case "rejected":
      return `${where} did not let this node in: ${printable(event.why)}`;
    case "joined":
      return `joined the swarm ${event.swarmId} as ${event.user}, ${event.role}; the credential is in the home`;
    default:
      return `${event.type} ${where}`;
  }
}
