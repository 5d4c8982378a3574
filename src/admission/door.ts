/**
 * The door of a swarm: the master's side of joining, behind HTTPS (protocols/admission.ts).
 *
 * Owns the open challenges. Tokens, who waits, and credentials are on disk, shared with commands.
 *
 * 1. A challenge is good for one proof. A proof binds the token to the swarm, its certificate, the challenge and who asks.
 * 2. What is wrong with a token is told only to who has proved to hold it.
 * 3. A use of a token is on disk before its credential is registered, and given back if that is refused.
 * 4. The same user with the same key is let in again, whatever was lost on the way; that counts no second use.
 * 5. Admissions are made one after the other, at most `MAX_WAITING` of them wait, and nothing thrown leaves `handle`.
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
import { refusalOf, type TokenRecord, TokenStore, unknownToken } from "./token-store.ts";

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
    if (issued === undefined) throw new VgasError("RESOURCE_LIMIT", `too many ask at once from ${address}; try again`);
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
    const known = await this.#admittedBefore(hello);
    if (known !== undefined) {
      const refused = refusalOf(record, this.#parts.clock.now(), true);
      if (refused !== undefined) throw refused;
      return await this.#admit(hello, hello.user, known, asker, record);
    }
    const user = { asked: hello.user, publicKey: hello.nkey };
    const taken = await this.#tokens.use(record.id, user, () =>
      record.role === "guest" ? newGuestName() : hello.user,
    );
    try {
      return await this.#admit(hello, taken.user, record.role, asker, record);
    } catch (error) {
      const final = error instanceof VgasError && ["NODE_EXISTS", "NODE_REVOKED", "INVALID"].includes(error.code);
      if (final) await this.#tokens.giveBack(record.id, user);
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
        "only a node can be let in without a token; a client needs one: `vgas token create`",
      );
    }
    const { user, nkey, machine } = hello;
    const known = await this.#admittedBefore(hello);
    if (known !== undefined) return await this.#admit(hello, user, known, asker);
    const fingerprint = fingerprintOf(this.#facts(hello, challenge, nonce));
    const { address } = asker;
    const record = await this.#pending.add({ user, nkey, machine, address, fingerprint, challenge, nonce });
    if (record.state === "pending") {
      const text = `a machine asks to be let in: compare the fingerprint with the one that it shows, then vgas approve ${user}`;
      this.#parts.logger.warn({ ...asker, fingerprint }, text);
    }
    return await this.#decided(record, asker);
  }

  async #decided(record: PendingRecord, asker: Asker): Promise<AskReply> {
    switch (record.state) {
      case "pending":
        return { v: 1, state: "pending", fingerprint: record.fingerprint };
      case "refused":
        throw new VgasError("NOT_ADMITTED", `the swarm's operator refused ${record.user}`);
      case "approved": {
        // Known already if the answer was lost before.
        const role = (await this.#admittedBefore(record)) ?? "worker";
        const reply = await this.#admit(record, record.user, role, asker);
        await this.#pending.remove(record);
        return reply;
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
   * @throws VgasError NODE_EXISTS if the user has another key, NODE_REVOKED
   */
  async #admittedBefore({ user, nkey }: Candidate): Promise<AdmissionRole | undefined> {
    const record = await readUser(this.#parts.home.layout.credentials, user);
    if (record === undefined) return undefined;
    if (record.revokedAt !== undefined) throw new VgasError("NODE_REVOKED", `${user} was revoked`);
    if (record.publicKey !== nkey || record.role === "system" || record.role === "admin") {
      throw new VgasError("NODE_EXISTS", `${user} is in the swarm already, with another key`);
    }
    return record.role;
  }

  async #admit(
    { nkey }: { readonly nkey: string },
    user: string,
    role: AdmissionRole,
    asker: Asker,
    token?: TokenRecord,
  ): Promise<Admitted> {
    const { home, authority, natsPort, logger } = this.#parts;
    const name = token?.name;
    await home.credentials.register({
      user,
      role,
      publicKey: nkey,
      ...(token !== undefined && { tokenId: token.id }),
      ...(name !== undefined && { name }),
    });
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

/** A token for nodes makes no client of a machine, nor the other way round. @throws VgasError PERMISSION_DENIED */
function refuseOtherKind({ id, role }: TokenRecord, hello: HelloRequest): void {
  if (isNodeRole(role) === (hello.role === "worker")) return;
  const use = isNodeRole(role)
    ? "for a node: `vgas join --token-file F`"
    : "for no node: `vgas connect --token-file F`";
  throw new VgasError("PERMISSION_DENIED", `the token ${id} is of role ${role}, ${use}`);
}
