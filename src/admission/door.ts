/**
 * The door of a swarm: the master's side of joining, behind HTTPS (protocols/admission.ts).
 *
 * Owns the open challenges. Tokens, who waits, and credentials are on disk, shared with commands.
 *
 * 1. A challenge is good for one proof. A proof binds the token to the swarm, its certificate, the challenge and who asks.
 * 2. What is wrong with a token is told only to who has proved to hold it.
 * 3. A use of a token is on disk before its credential is registered, and given back if that is refused.
 * 4. The same user with the same key is let in again by the token that it used, or by the question that was approved, whatever was
 *    lost on the way; that counts no second use. Without either it is asked for again, however well its key is known.
 * 5. What lets somebody in is read once more when the credential is registered, under the lock of those who take it back: it was
 *    seen either by them or here, so nobody is in whom they called refused.
 * 6. Whether an id is in the swarm, or was revoked, is told only to who has its key or a token.
 * 7. Admissions are made one after the other, at most `MAX_WAITING` of them wait, and nothing thrown leaves `handle`.
 */
import type { Authority } from "../bus/certificates/authority.ts";
import { newGuestName } from "../bus/credentials/credentials.ts";
import { readUser } from "../bus/credentials/user-records.ts";
import type { Home } from "../bus/home/home.ts";
import { readNodeIdentity } from "../bus/home/node-identity.ts";
import {
  type Admitted,
  type AskReply,
  type AskRequest,
  askRequest,
  type HelloReply,
  type HelloRequest,
  helloRequest,
  JOIN_PATHS,
  type JoinFacts,
  type ProveRequest,
  proveRequest,
} from "../protocols/admission.ts";
import type { Clock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import { type AdmissionRole, isNodeRole } from "../protocols/roles.ts";
import { type Answer, readBody, refusalAnswer } from "./answers.ts";
import { refusalOfBearer } from "./bearer.ts";
import { type Challenge, Challenges } from "./challenges.ts";
import { commitmentTo, fingerprintOf } from "./fingerprint.ts";
import { type PendingRecord, PendingStore } from "./pending-store.ts";
import { RefusalLog } from "./refusal-log.ts";
import { publicKeyHash, sameText, verifyProof } from "./token.ts";
import { refusalOf, revokedToken, type TokenRecord, TokenStore, unknownToken } from "./token-store.ts";

export interface DoorParts {
  readonly home: Home;
  readonly authority: Authority;
  /** Where the swarm's NATS is, on the address that was dialled. */
  readonly natsPort: () => number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface JoinRequest {
  /** `/join/…` */
  readonly path: string;
  readonly body: Uint8Array;
  /** Of whoever asks. */
  readonly address: string;
}

/** Each registers a credential with the broker, some 100 ms; who waits longer asks again. */
const MAX_WAITING = 64;

/** What is known of who asks, for the log. */
interface Asker {
  readonly address: string;
  node?: string;
  machine?: string;
  token?: string;
}

interface Candidate {
  readonly user: string;
  readonly nkey: string;
}

interface Grant extends Candidate {
  readonly role: AdmissionRole;
  /** It was in before. */
  readonly known: boolean;
  readonly token?: TokenRecord;
  /** Reads once more whether this may be, and gives why not. */
  readonly withdrawn: () => Promise<VgasError | undefined>;
}

export class AdmissionDoor {
  readonly #parts: DoorParts;
  readonly #tokens: TokenStore;
  readonly #pending: PendingStore;
  readonly #challenges: Challenges;
  readonly #refusals: RefusalLog;
  /** Admissions, one after the other. */
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #stopped = false;

  constructor(parts: DoorParts) {
    const { home, clock, logger } = parts;
    this.#parts = parts;
    this.#tokens = new TokenStore(home.layout, clock);
    this.#pending = new PendingStore(home.layout, clock);
    this.#challenges = new Challenges(clock);
    this.#refusals = new RefusalLog(clock, logger);
  }

  /** Answers one request of the join protocol. Never throws. */
  async handle(request: JoinRequest): Promise<Answer> {
    const asker: Asker = { address: request.address };
    try {
      if (this.#stopped) throw new VgasError("SHUTTING_DOWN", "the node stops; try again");
      return { status: 200, body: await this.#answer(request, asker) };
    } catch (error) {
      const refused = error instanceof VgasError ? error : undefined;
      // What is wrong on this side is for the log alone.
      if (refused === undefined || ["CONFIG", "INTERNAL"].includes(refused.code)) {
        this.#parts.logger.error({ ...asker, error: String(error) }, "the door failed");
        return refusalAnswer(new VgasError("INTERNAL", "the swarm's node cannot let anybody in now; its log says why"));
      }
      this.#refusals.note(asker, refused);
      return refusalAnswer(refused);
    }
  }

  /** Why a bearer of HTTP may not read, undefined if it may: it has to be the whole line of a usable token that may observe. */
  async checkBearer(line: string): Promise<VgasError | undefined> {
    const { authority, clock } = this.#parts;
    return await refusalOfBearer(line, { authority, clock, tokens: this.#tokens });
  }

  /** Lets nobody in any more. Idempotent. */
  stop(): void {
    this.#stopped = true;
    this.#refusals.stop();
  }

  async #answer({ path, body, address }: JoinRequest, asker: Asker): Promise<HelloReply | AskReply> {
    switch (path) {
      case JOIN_PATHS.hello:
        return this.#hello(readBody(helloRequest, body), address, asker);
      case JOIN_PATHS.prove: {
        const request = readBody(proveRequest, body);
        return await this.#inTurn(() => this.#prove(request, asker));
      }
      case JOIN_PATHS.ask: {
        const request = readBody(askRequest, body);
        return await this.#inTurn(() => this.#ask(request, asker));
      }
      default:
        throw new VgasError("NOT_FOUND", "there is no such door; this version of vgas has hello, prove and ask");
    }
  }

  #hello(hello: HelloRequest, address: string, asker: Asker): HelloReply {
    know(asker, hello);
    const issued = this.#challenges.issue(hello, address);
    if (issued === undefined) throw new VgasError("RESOURCE_LIMIT", "too many ask at once; try again in a minute");
    return { v: 1, swarmId: this.#parts.authority.swarmId, challenge: issued.challenge };
  }

  async #prove({ challenge, nonce, token }: ProveRequest, asker: Asker): Promise<Admitted> {
    asker.token = token.id;
    const { hello } = this.#take(challenge, nonce, asker);
    const record = await this.#tokens.read(token.id);
    if (record === undefined) throw unknownToken(token.id);
    if (!sameText(publicKeyHash(token.publicKey), record.publicKeyHash)) {
      throw new VgasError("PROOF_REFUSED", `the key of the proof is not that of the token ${token.id}`);
    }
    if (!verifyProof(token.id, token.publicKey, token.signature, this.#facts(hello, challenge, nonce))) {
      throw new VgasError("PROOF_REFUSED", "the signature does not fit this challenge and who asks");
    }
    refuseOtherKind(record, hello);
    const { user: asked, nkey } = hello;
    const withdrawn = async (): Promise<VgasError | undefined> =>
      (await this.#tokens.isRevoked(record.id)) ? revokedToken(record.id) : undefined;
    const known = await this.#admittedBefore(hello);
    if (known !== undefined) {
      const refused = refusalOf(record, this.#parts.clock.now(), true);
      if (refused !== undefined) throw refused;
      return await this.#admit({ user: asked, nkey, role: known, known: true, token: record, withdrawn }, asker);
    }
    const by = { asked, publicKey: nkey };
    const { use, isNew } = await this.#tokens.use(record.id, by, () =>
      record.role === "guest" ? newGuestName() : asked,
    );
    const { user } = use;
    // A guest goes by another name than it asks by.
    const before = isNew ? undefined : await this.#admittedBefore({ user, nkey });
    const grant = { user, nkey, role: record.role, known: before !== undefined, token: record, withdrawn };
    try {
      return await this.#admit(grant, asker);
    } catch (error) {
      const final = error instanceof VgasError && ["NODE_EXISTS", "NODE_REVOKED", "INVALID"].includes(error.code);
      if (final && isNew) await this.#tokens.giveBack(record.id, by);
      throw error;
    }
  }

  async #ask({ challenge, nonce }: AskRequest, asker: Asker): Promise<AskReply> {
    const waiting = await this.#pending.asking(challenge, nonce);
    if (waiting !== undefined) {
      know(asker, waiting);
      await this.#pending.touch(waiting);
      return await this.#decided(waiting, asker);
    }
    const { hello } = this.#take(challenge, nonce, asker);
    if (hello.role !== "worker") {
      throw new VgasError(
        "NOT_ADMITTED",
        `without a token only a worker can be let in; this takes one: \`vgas token create --role ${hello.role}\``,
      );
    }
    const { user, nkey, machine } = hello;
    await this.#admittedBefore(hello).catch((error: unknown) => {
      throw unlessOwn(error);
    });
    const fingerprint = fingerprintOf(this.#facts(hello, challenge, nonce));
    const { address } = asker;
    const asked = { user, nkey, machine, address, fingerprint, challenge, nonce };
    const record = await this.#pending.add(asked).catch((error: unknown) => {
      throw unlessOwn(error);
    });
    if (record.state === "pending") {
      const text = `a machine asks to be let in; if it shows the same fingerprint: vgas approve ${user} --fingerprint ${fingerprint}`;
      this.#parts.logger.warn({ ...asker, fingerprint }, text);
    }
    return await this.#decided(record, asker);
  }

  async #decided(record: PendingRecord, asker: Asker): Promise<AskReply> {
    switch (record.state) {
      case "pending":
        return { v: 1, state: "pending", fingerprint: record.fingerprint };
      case "refused":
        throw refusedOne(record);
      case "approved":
      case "admitted": {
        const { user, nkey } = record;
        const before = await this.#admittedBefore(record);
        const withdrawn = async (): Promise<VgasError | undefined> =>
          (await this.#pending.admitted(record)) ? undefined : refusedOne(record);
        return await this.#admit(
          { user, nkey, role: before ?? "worker", known: before !== undefined, withdrawn },
          asker,
        );
      }
    }
  }

  /** The challenge's question, which is used up. @throws VgasError PROOF_REFUSED */
  #take(challenge: string, nonce: string, asker: Asker): Challenge {
    const taken = this.#challenges.take(challenge);
    if (taken === undefined) {
      throw new VgasError("PROOF_REFUSED", "the challenge is unknown, was used before, or is older than a minute");
    }
    know(asker, taken.hello);
    if (!sameText(commitmentTo(nonce), taken.hello.commitment)) {
      throw new VgasError("PROOF_REFUSED", "the nonce is not the one that was committed to");
    }
    return taken;
  }

  /**
   * The role in which that user with that key was let in before.
   *
   * @throws VgasError NODE_EXISTS or NODE_REVOKED if the user has another key, with `OTHER_KEY` as the cause; NODE_REVOKED
   */
  async #admittedBefore({ user, nkey }: Candidate): Promise<AdmissionRole | undefined> {
    const record = await readUser(this.#parts.home.layout.credentials, user);
    if (record === undefined) return undefined;
    const own = record.publicKey === nkey;
    const cause = own ? undefined : OTHER_KEY;
    if (record.revokedAt !== undefined) throw new VgasError("NODE_REVOKED", `${user} was revoked`, { cause });
    if (!own || record.role === "system" || record.role === "admin") {
      throw new VgasError("NODE_EXISTS", `${user} is in the swarm already, with another key`, { cause: OTHER_KEY });
    }
    return record.role;
  }

  async #admit({ user, nkey, role, known, token, withdrawn }: Grant, asker: Asker): Promise<Admitted> {
    const { home, authority, natsPort, logger } = this.#parts;
    const name = token?.name;
    await home.credentials.register({
      user,
      role,
      publicKey: nkey,
      ...(token !== undefined && { tokenId: token.id }),
      ...(name !== undefined && { name }),
    });
    const refused = await withdrawn();
    if (refused !== undefined) {
      if (!known) await home.credentials.revoke(user);
      throw refused;
    }
    const identity = await readNodeIdentity(home.layout.node);
    const vaultKey = (await home.credentials.find("system"))?.publicKey;
    logger.info({ ...asker, node: user, role }, "let a machine in");
    const { swarmId, serverName } = authority;
    return {
      v: 1,
      state: "admitted",
      swarmId,
      prefix: identity?.prefix ?? "vgas",
      user,
      role,
      natsPort: natsPort(),
      serverName,
      ...(vaultKey !== undefined && { vaultKey }),
    };
  }

  #facts({ nkey, user, role }: HelloRequest, challenge: string, nonce: string): JoinFacts {
    const { swarmId, pin } = this.#parts.authority;
    return { swarmId, pin, challenge, nonce, nkey, user, role };
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING) throw new VgasError("RESOURCE_LIMIT", "too many ask at once; try again");
    this.#waiting++;
    const turn = this.#last.then(() => {
      if (this.#stopped) throw new VgasError("SHUTTING_DOWN", "the node stops; try again");
      return work();
    });
    this.#last = turn.catch(() => undefined);
    try {
      return await turn;
    } finally {
      this.#waiting--;
    }
  }
}

function know(asker: Asker, { user, machine }: { readonly user: string; readonly machine: string }): void {
  asker.node = user;
  asker.machine = machine;
}

/** The cause of an error about an id whose key is not the asker's. */
const OTHER_KEY = "the id has another key";

/** What may be told of an id to who has proved nothing; the log gets the cause. */
function unlessOwn(error: unknown): unknown {
  if (!(error instanceof VgasError)) return error;
  if (error.cause !== OTHER_KEY && error.code !== "NODE_EXISTS") return error;
  return new VgasError("NODE_EXISTS", "that id is taken", { cause: error });
}

function refusedOne({ user }: PendingRecord): VgasError {
  return new VgasError("NOT_ADMITTED", `the swarm's operator refused ${user}`);
}

/** A token for nodes makes no client of a machine, nor the other way round; one for HTTP makes neither. @throws VgasError PERMISSION_DENIED */
function refuseOtherKind({ id, role, http }: TokenRecord, hello: HelloRequest): void {
  if (http) throw new VgasError("PERMISSION_DENIED", `the token ${id} is for HTTP alone (--http), and lets nobody in`);
  if (role === "worker" && hello.role === "dispatcher") {
    const remedy = "`vgas token create --role dispatcher`, or leave dispatcher out of --roles";
    throw new VgasError(
      "PERMISSION_DENIED",
      `the token ${id} is of role worker, and a node that deals tasks needs more: ${remedy}`,
    );
  }
  if (isNodeRole(role) === isNodeRole(hello.role)) return;
  const use = isNodeRole(role)
    ? "for a node: `vgas join --token-file F`"
    : "for no node: `vgas connect --token-file F`";
  throw new VgasError("PERMISSION_DENIED", `the token ${id} is of role ${role}, ${use}`);
}
