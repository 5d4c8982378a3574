/**
 * How a home without a membership becomes a member of a swarm: what `vgas join` and `vgas connect` do.
 *
 * Owns one try at a time: the candidates, the key it asks with, and the question that is open.
 *
 * 1. Nothing is said to a machine before its certificate authority is known, and with a token before it is the token's.
 * 2. A candidate is only a place to look. One that shows a wrong certificate keeps nobody from reaching the true one; only when
 *    all that there are have shown wrong ones, or answered as only a wrong one does, for `MISMATCH_MS` it ends with
 *    CERTIFICATE_MISMATCH.
 * 3. Without a token the first swarm that answered is the one: its authority is held on to from then on. Where several swarms are
 *    announced, none is asked. Once its fingerprint was shown that holds after a restart too: what somebody compared was of that
 *    swarm. The home forgets it when it is in, or when somebody removes the note (`askedPath`).
 * 4. The key is on disk before it is told to anybody, so that a lost answer can be asked for again.
 * 5. It tries for ever, with growing pauses, until the swarm refuses for good, the signal fires or the time is over.
 */
import { createHash } from "node:crypto";
import { hostname } from "node:os";
import { serverNameOf } from "../bus/certificates/authority.ts";
import { firstContact } from "../bus/certificates/pinned.ts";
import type { Home } from "../bus/home/home.ts";
import {
  type AskedSwarm,
  type AskingKey,
  askedPath,
  askedSwarm,
  askingKey,
  type Membership,
  noteAskedSwarm,
  writeMembership,
} from "../bus/home/membership.ts";
import type { Admitted } from "../protocols/admission.ts";
import type { Clock, Random } from "../protocols/clock.ts";
import { type ErrorCode, VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import { isNodeRole, type Role } from "../protocols/roles.ts";
import { inboxPrefix } from "../protocols/subjects.ts";
import { base32 } from "./base32.ts";
import { type Candidate, type CandidateSource, hostPort } from "./candidates.ts";
import { dial, pause } from "./dial.ts";
import type { EnrolEvent } from "./enrol-event.ts";
import { type Known, KnownCandidates } from "./known-candidates.ts";
import { Question } from "./question.ts";
import type { Token } from "./token.ts";

export { type Candidate, type CandidateSource, peerSource } from "./candidates.ts";
export type { EnrolEvent } from "./enrol-event.ts";
export { findAgain } from "./find-again.ts";

export interface EnrolOptions {
  readonly home: Home;
  /** Without one the swarm's operator is asked. */
  readonly token?: Token | undefined;
  /** A node's role for a node; any other for who runs no agents. Which one it becomes the token says. */
  readonly role: Role;
  readonly sources: readonly CandidateSource[];
  readonly onProgress: (event: EnrolEvent) => void;
  readonly signal: AbortSignal;
  /** Default: for ever. */
  readonly timeoutMs?: number | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random?: Random;
}

/** Of one handshake. */
const CONTACT_MS = 3_000;
/** Candidates dialled at once. */
const AT_ONCE = 16;
/** Announcements of a network come within a second; so long it is looked whether there is a second swarm. */
const SETTLE_MS = 2_000;
/** A true one that starts at the same time has answered by then. */
const MISMATCH_MS = 5_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
/** A proof fails if the master restarts in between; more often it is no accident. */
const MAX_PROOFS = 3;

/** Trying again cannot help. */
const FINAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "TOKEN_EXPIRED",
  "TOKEN_INVALID",
  "TOKEN_REVOKED",
  "TOKEN_UNKNOWN",
  "TOKEN_USED_UP",
  "NODE_EXISTS",
  "NODE_REVOKED",
  "NOT_ADMITTED",
  "PERMISSION_DENIED",
  "INVALID",
  "TOO_LARGE",
  "CONFIG",
]);

/** A machine that has shown its certificate authority. */
interface Contact {
  readonly known: Known;
  readonly host: string;
  readonly ca: string;
  readonly pin: string;
}

/**
 * Becomes a member, and stores the membership in the home.
 *
 * @throws VgasError why the swarm refuses it for good; CERTIFICATE_MISMATCH; CONFIG where several swarms are announced and none is
 *   named; TIMEOUT; ABORTED
 */
export async function enrol(options: EnrolOptions): Promise<Membership> {
  const { clock, timeoutMs, signal, home, token } = options;
  const key = await askingKey(home.layout);
  const asked = token === undefined ? await askedSwarm(home.layout) : undefined;
  const timeUp = new AbortController();
  const timer = timeoutMs === undefined ? undefined : clock.setTimeout(() => timeUp.abort(), timeoutMs);
  const enrolment = new Enrolment(options, { key, asked }, AbortSignal.any([signal, timeUp.signal]));
  try {
    return await enrolment.run();
  } catch (error) {
    if (!timeUp.signal.aborted || signal.aborted) throw error;
    throw new VgasError("TIMEOUT", `joining timed out after ${timeoutMs} ms: ${enrolment.lastTrouble}`, {
      cause: error,
    });
  } finally {
    clock.clear(timer);
    enrolment.stop();
  }
}

class Enrolment {
  readonly #options: EnrolOptions;
  readonly #signal: AbortSignal;
  readonly #known: KnownCandidates;
  readonly #random: Random;
  readonly #question: Question;
  /** The swarm that is asked: the token's, the one that was asked before a restart, or the first that answered. */
  #swarm: AskedSwarm | undefined;
  /** How another one can be asked, where it was asked before a restart. */
  readonly #advice: string;
  /** Fires when a candidate is new. */
  #news = new AbortController();
  #mismatchSince: number | undefined;
  #refusedProofs = 0;
  lastTrouble = "no swarm was found on this network; `--peer HOST:PORT` names one";

  constructor(
    options: EnrolOptions,
    { key, asked }: { readonly key: AskingKey; readonly asked: AskedSwarm | undefined },
    signal: AbortSignal,
  ) {
    const { home, role, token, onProgress, sources, random = Math.random } = options;
    this.#options = options;
    this.#signal = signal;
    this.#random = random;
    this.#swarm = token ?? asked;
    this.#advice =
      asked === undefined
        ? ""
        : `; this home has asked the swarm ${asked.swarmId} and asks no other: to ask another, give a token, or delete ${askedPath(home.layout)}`;
    this.lastTrouble += this.#advice;
    const user = isNodeRole(role) ? home.hostId : clientName(key.publicKey);
    this.#question = new Question({
      ...{ key, user, token, onProgress, random: this.#random, clock: options.clock, signal },
      role: isNodeRole(role) ? role : "client",
      onCompare: (swarm) => noteAskedSwarm(home.layout, swarm),
      machine: hostname().replace(/\p{C}/gu, "").slice(0, 255),
    });
    this.#known = new KnownCandidates(sources, {
      onNew: (candidate) => this.#onNew(candidate),
      isOfUse: (candidate) => (token ?? asked) === undefined || this.#wanted(candidate),
      random,
    });
  }

  async run(): Promise<Membership> {
    for (let round = 0; ; round++) {
      if (await this.#hasSomewhereToGo()) {
        const contact = await this.#reach();
        const membership = contact && (await this.#join(contact));
        if (membership !== undefined) return membership;
      }
      await this.#pause(round);
      this.#refuseAborted();
    }
  }

  stop(): void {
    this.#known.stop();
  }

  /** False if there is no candidate yet. @throws VgasError CONFIG if there are several swarms and none was named */
  async #hasSomewhereToGo(): Promise<boolean> {
    if (this.#known.next(this.#wanted, 1).length === 0) return false;
    if (this.#swarm !== undefined || this.#named()) return true;
    await pause(this.#options.clock, SETTLE_MS, this.#signal);
    this.#refuseAborted();
    const swarms = [...new Set(this.#known.all.map(({ id, swarmId }) => swarmId ?? id))];
    if (swarms.length < 2 || this.#named()) return true;
    throw new VgasError(
      "CONFIG",
      `several swarms are on this network: ${swarms.slice(0, 8).join(", ")}; give a token of the one that is meant (--token-file F), or name it with --peer HOST:PORT`,
    );
  }

  #named(): boolean {
    return this.#known.all.some(({ source }) => source === "peer");
  }

  readonly #wanted = ({ source, swarmId, pinPrefix }: Candidate): boolean => {
    const swarm = this.#swarm;
    // Who names a door means that one.
    if (swarm === undefined) return source === "peer" || !this.#named();
    return (
      (swarmId === undefined || swarm.swarmId === undefined || swarmId === swarm.swarmId) &&
      (pinPrefix === undefined || swarm.pin.startsWith(pinPrefix))
    );
  };

  #onNew(candidate: Candidate): void {
    const { id, swarmId } = candidate;
    const { onProgress, token } = this.#options;
    onProgress({ type: "seen", where: id, ...(swarmId !== undefined && { swarmId }) });
    if ((token !== undefined || this.#advice !== "") && !this.#wanted(candidate)) {
      const other = `it is of the swarm ${swarmId ?? "with another certificate"}`;
      const code = token === undefined ? "CERTIFICATE_MISMATCH" : "TOKEN_UNKNOWN";
      const why = token === undefined ? `${other}${this.#advice}` : `${other}, and the token is for ${token.swarmId}`;
      onProgress({ type: "rejected", where: id, code, why });
      return;
    }
    this.#news.abort();
  }

  /** Dials those that are the most likely, all at once; the first that shows a certificate authority that will do. */
  async #reach(): Promise<Contact | undefined> {
    const over = new AbortController();
    const signal = AbortSignal.any([this.#signal, over.signal]);
    const tries = this.#known.next(this.#wanted, AT_ONCE).map((known) => this.#contact(known, signal));
    try {
      return await Promise.any(tries);
    } catch {
      this.#refuseAborted();
      this.#refuseMismatch();
      return undefined;
    } finally {
      over.abort();
    }
  }

  async #contact(known: Known, signal: AbortSignal): Promise<Contact> {
    const { candidate } = known;
    const { clock } = this.#options;
    const swarmId = this.#swarm?.swarmId ?? candidate.swarmId;
    const wanted = {
      ...(this.#swarm !== undefined && { pin: this.#swarm.pin }),
      ...(swarmId !== undefined && { serverName: serverNameOf(swarmId) }),
    };
    try {
      const { host, value } = await dial(
        candidate.addresses,
        async (address, until) => {
          const { port } = candidate;
          this.#options.onProgress({ type: "dialing", where: hostPort(address, port) });
          return await firstContact({ host: address, port }, wanted, { timeoutMs: CONTACT_MS, signal: until });
        },
        { clock, signal },
      );
      return { known, host, ca: value.caPem, pin: value.pin };
    } catch (error) {
      if (!signal.aborted) this.#failed(known, error, candidate.id);
      throw error;
    }
  }

  #failed(known: Known, thrown: unknown, where: string): void {
    const error = this.#advised(
      thrown instanceof VgasError ? thrown : new VgasError("NO_SWARM", String(thrown), { cause: thrown }),
    );
    const again = known.error?.code === error.code;
    this.#known.failed(known, error);
    this.lastTrouble = error.message;
    this.#options.logger.debug(
      { where, code: error.code, error: error.message },
      "a candidate did not let this node in",
    );
    if (!again) this.#options.onProgress({ type: "rejected", where, code: error.code, why: error.message });
  }

  #advised(error: VgasError): VgasError {
    if (error.code !== "CERTIFICATE_MISMATCH" || this.#advice === "") return error;
    return new VgasError(error.code, `${error.message}${this.#advice}`, { cause: error });
  }

  async #join(contact: Contact): Promise<Membership | undefined> {
    const { known, host, ca, pin } = contact;
    const { port, swarmId } = known.candidate;
    const where = hostPort(host, port);
    const serverName = swarmId ?? this.#swarm?.swarmId;
    const door = { host, port, ca, serverName: serverName === undefined ? undefined : serverNameOf(serverName) };
    try {
      const reply = await this.#question.ask(door, pin, (answered) => {
        this.#swarm ??= { pin, swarmId: answered };
      });
      return await this.#enter(contact, reply);
    } catch (error) {
      this.#refuseAborted();
      this.#failed(known, error, where);
      if (error instanceof VgasError && this.#isFinal(error)) throw error;
      this.#refuseMismatch();
      return undefined;
    }
  }

  #isFinal({ code }: VgasError): boolean {
    // Without a token it means only that the swarm has forgotten the question.
    if (code === "PROOF_REFUSED") return this.#options.token !== undefined && ++this.#refusedProofs >= MAX_PROOFS;
    return FINAL.has(code);
  }

  async #enter({ known, host, ca, pin }: Contact, reply: Admitted): Promise<Membership> {
    const { home, onProgress } = this.#options;
    const { addresses, port } = known.candidate;
    const { swarmId, prefix, user, role, natsPort, serverName, vaultKey } = reply;
    const hosts = [host, ...addresses.filter((each) => each !== host)];
    const membership: Membership = {
      ...{ swarmId, pin, prefix, user, role, ca, serverName },
      urls: hosts.map((each) => `tls://${hostPort(each, natsPort)}`),
      doors: hosts.map((each) => hostPort(each, port)),
      seed: this.#question.key.seed,
      inboxPrefix: inboxPrefix(user),
      ...(vaultKey !== undefined && { vaultKey }),
    };
    await writeMembership(home.layout, membership);
    onProgress({ type: "joined", swarmId, user, role });
    return membership;
  }

  #refuseMismatch(): void {
    if (!this.#known.allMismatch(this.#wanted)) {
      this.#mismatchSince = undefined;
      return;
    }
    const now = this.#options.clock.monotonic();
    this.#mismatchSince ??= now;
    const [first] = this.#known.next(this.#wanted, 1);
    if (now - this.#mismatchSince >= MISMATCH_MS && first?.error !== undefined) throw first.error;
  }

  /** Between two rounds, longer each time; shorter when there is a new candidate. */
  async #pause(round: number): Promise<void> {
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(round, 10));
    const signal = AbortSignal.any([this.#signal, this.#news.signal]);
    await pause(this.#options.clock, longest * (0.5 + this.#random() / 2), signal);
    if (this.#news.signal.aborted) this.#news = new AbortController();
  }

  #refuseAborted(): void {
    if (this.#signal.aborted) throw new VgasError("ABORTED", "joining was given up");
  }
}

/** `c` and 9 base32 characters of its key's digest: the same each time that this key asks. */
function clientName(publicKey: string): string {
  return `c${base32(createHash("sha256").update(publicKey).digest()).slice(0, 9)}`;
}
