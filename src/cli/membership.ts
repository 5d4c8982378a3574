/** Makes this home a member of a swarm, or finds the swarm again that it is a member of. */
import { setTimeout as pause } from "node:timers/promises";
import { type CandidateSource, type EnrolEvent, enrol, findAgain, peerSource } from "../admission/enrol.ts";
import type { Token } from "../admission/token.ts";
import { connectBus } from "../bus/connection.ts";
import { Deadline } from "../bus/deadline.ts";
import { type Home, openHome } from "../bus/home/home.ts";
import { type Membership, readMembership, updateAddresses } from "../bus/home/membership.ts";
import { browse } from "../client/browse.ts";
import type { Config } from "../config.ts";
import { systemClock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import { refuseLeadersHome } from "./admission-home.ts";
import type { Cli } from "./cli.ts";
import { enrolText, teller } from "./enrol-progress.ts";
import { UsageError } from "./failure.ts";
import { createLogger } from "./logging.ts";
import { readToken, type TokenFlags } from "./token-input.ts";

export interface MemberOptions {
  readonly config: Config;
  readonly flags: TokenFlags & { readonly timeout?: number };
}

/** One search for a master that has moved. */
const SEARCH_MS = 5_000;
const RETRY_MS = 1_000;
/** After so long without a sign of any swarm it is said what could be amiss. */
const HINT_MS = 10_000;
const NOTHING_FOUND =
  "no swarm was found yet. On its machine: is it `vgas up --lan`? Are UDP 5353 and TCP 8080 open? --peer HOST:8080 does without mDNS";

/**
 * The membership of the home, proved to be good: the stored one, or one that the swarm gives now. Waits for the swarm to be
 * there, and for its operator, until `flags.timeout`.
 *
 * @throws VgasError TIMEOUT, ABORTED, and why the swarm does not let this home in
 */
export async function becomeMember(cli: Cli, { config, flags }: MemberOptions): Promise<Membership> {
  const home = await openHome(config.home);
  await home.lock();
  const deadline = new Deadline(flags.timeout, cli.interrupt.signal);
  const { signal } = deadline;
  const logger = createLogger(cli.terminal, config.logLevel, "auto");
  const browser = config.mdns ? await browse(config, home, logger) : undefined;
  const sources = [...(browser ? [browser.asCandidates()] : []), peerSource(config.peers)];
  const role = config.roles.includes("dispatcher") ? "dispatcher" : "worker";
  const say = teller(cli.terminal);
  let hint: NodeJS.Timeout | undefined;
  try {
    const stored = await readMembership(home.layout);
    if (stored !== undefined) {
      refuseOther(stored, await readToken(cli, flags, { ask: false }), config);
      return await reach(home, stored, [...sources, peerSource(stored.doors)], { signal, logger, say });
    }
    await refuseLeadersHome(home);
    if (browser === undefined && config.peers.length === 0) {
      throw new UsageError(
        "join needs to know which swarm: give --connection FILE or --peer HOST:PORT, or leave --no-mdns out",
        "On the swarm's machine: `vgas token create`, or `vgas connection --role worker --inline > FILE` for --connection.",
      );
    }
    const token = await readToken(cli, flags, { ask: true });
    say(token === undefined ? "looking for a swarm on this network" : `looking for the swarm ${token.swarmId}`);
    hint = setTimeout(() => say(NOTHING_FOUND), HINT_MS);
    const onProgress = (event: EnrolEvent): void => {
      clearTimeout(hint);
      say(enrolText(event));
    };
    const limits = { signal: cli.interrupt.signal, ...(flags.timeout !== undefined && { timeoutMs: flags.timeout }) };
    return await enrol({ home, token, role, sources, onProgress, ...limits, clock: systemClock, logger });
  } catch (error) {
    if (!deadline.expired || (error instanceof VgasError && error.code === "TIMEOUT")) throw error;
    const why = error instanceof VgasError ? `: ${error.message}` : "";
    throw new VgasError("TIMEOUT", `joining timed out after ${flags.timeout} ms${why}`, { cause: error });
  } finally {
    clearTimeout(hint);
    deadline.clear();
    await browser?.stop();
    await home.release();
  }
}

/** A home belongs to one swarm: a token for another is a mistake, and not one to be passed over. */
function refuseOther({ swarmId, role }: Membership, token: Token | undefined, { home, roles }: Config): void {
  if (token !== undefined && token.swarmId !== swarmId) {
    const message = `the home ${home} is a member of the swarm ${swarmId}, and the token is for ${token.swarmId}`;
    throw new VgasError("CONFIG", `${message}; give this node another --home`);
  }
  if (role === "worker" && roles.includes("dispatcher")) {
    const message = `the home ${home} has a worker's credential, and a node that deals tasks needs a dispatcher's`;
    throw new VgasError(
      "CONFIG",
      `${message}: leave dispatcher out of --roles, or use another --home and \`vgas token create --role dispatcher\``,
    );
  }
  if (role !== "worker" && role !== "dispatcher")
    throw new VgasError("CONFIG", `the home ${home} is that of role ${role}; a node needs a --home of its own`);
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
  let trouble: unknown;
  for (let told = false; ; told = true) {
    try {
      const { user, seed, inboxPrefix, ca, serverName, urls, doors } = membership;
      const bus = await connectBus({ url: urls.join(","), seed, inboxPrefix, ca, serverName, name: user, logger });
      // The next one who connects begins with the address that answers: each that does not takes seconds.
      const answers = urls.filter((url) => new URL(url).host === bus.server);
      await bus.close();
      const found = { urls: [...new Set([...answers, ...urls])], doors };
      if (found.urls.join() !== stored.urls.join()) await updateAddresses(home.layout, found);
      return { ...membership, ...found };
    } catch (error) {
      if (signal.aborted) throw givenUp(error);
      if (!(error instanceof VgasError)) throw error;
      if (error.code === "PERMISSION_DENIED") throw revoked(home, stored, error);
      if (error.code !== "NO_SWARM" && error.code !== "CERTIFICATE_MISMATCH") throw error;
      trouble = error;
      if (!told) say(`the swarm ${stored.swarmId} is not there (${error.message}); waiting for it`);
    }
    const found = await findAgain(membership, sources, { signal, timeoutMs: SEARCH_MS });
    if (found !== undefined) membership = { ...membership, ...found };
    // What proved itself a moment ago can be gone again, and is found again at once.
    await pause(RETRY_MS, undefined, { signal }).catch(() => {
      throw givenUp(trouble);
    });
  }
}

function givenUp(trouble: unknown): VgasError {
  const why = trouble instanceof VgasError ? `: ${trouble.message}` : "";
  return new VgasError("ABORTED", `waiting for the swarm was given up${why}`);
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
