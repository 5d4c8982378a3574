/**
 * The question that a joiner has open: it proves its token, or asks again and again until the operator has decided.
 *
 * 1. Without a token a question goes on where it was after the connection broke, with the same fingerprint; a swarm that has
 *    forgotten it is asked anew.
 * 2. Without a token nobody is believed whom a person could not compare: who admits before the fingerprint of that very question
 *    was shown is not the swarm.
 */
import { serverNameOf } from "../bus/certificates/authority.ts";
import type { AskingKey } from "../bus/home/membership.ts";
import {
  type Admitted,
  admitted,
  askReply,
  helloReply,
  JOIN_PATHS,
  type JoinFacts,
  type WantedRole,
} from "../protocols/admission.ts";
import type { Clock, Random } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import { isGuestName } from "../protocols/guest-account.ts";
import { isNodeRole } from "../protocols/roles.ts";
import { hostPort } from "./candidates.ts";
import { pause } from "./dial.ts";
import type { EnrolEvent } from "./enrol-event.ts";
import { commitmentTo, fingerprintOf, newNonce, sameFingerprint } from "./fingerprint.ts";
import { type Door, post } from "./join-client.ts";
import { signProof, type Token, tokenPublicKey } from "./token.ts";

export interface QuestionOptions {
  readonly key: AskingKey;
  readonly user: string;
  readonly role: WantedRole;
  readonly machine: string;
  readonly token: Token | undefined;
  readonly onProgress: (event: EnrolEvent) => void;
  /** Comes before the fingerprint of a question is shown. */
  readonly onCompare: (swarm: { readonly swarmId: string; readonly pin: string }) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
}

/** How often the swarm is asked whether it was decided. */
const POLL_MS = 2_000;

export class Question {
  readonly #options: QuestionOptions;
  /** What was asked without a token, until the swarm has forgotten it. */
  #open: JoinFacts | undefined;
  /** The fingerprint that was shown last. */
  #shown: string | undefined;

  constructor(options: QuestionOptions) {
    this.#options = options;
  }

  get key(): AskingKey {
    return this.#options.key;
  }

  /**
   * Asks at `door`, whose authority has this pin; `onSwarm` hears the swarm's id when it is proved.
   *
   * @throws VgasError what the swarm refuses with; NO_SWARM, CERTIFICATE_MISMATCH, ABORTED
   */
  async ask(door: Door, pin: string, onSwarm: (swarmId: string) => void): Promise<Admitted> {
    if (this.#open?.pin !== pin) this.#open = undefined;
    const facts = this.#open ?? (await this.#hello(door, pin));
    const named = { ...door, serverName: serverNameOf(facts.swarmId) };
    onSwarm(facts.swarmId);
    const reply = this.#options.token === undefined ? await this.#wait(named, facts) : await this.#prove(named, facts);
    if (reply.swarmId !== facts.swarmId || reply.serverName !== named.serverName) {
      throw new VgasError("CERTIFICATE_MISMATCH", `the swarm ${facts.swarmId} answers as ${reply.swarmId}`);
    }
    if (isNodeRole(reply.role) !== isNodeRole(facts.role)) {
      throw new VgasError("PERMISSION_DENIED", `the swarm gives the role ${reply.role}, which is of no use here`);
    }
    // Its tasks and its inbox go by that name: only a guest's is the swarm's to choose.
    if (reply.role === "guest" ? !isGuestName(reply.user) : reply.user !== facts.user) {
      throw new VgasError("PERMISSION_DENIED", `the swarm gives the name ${reply.user}, and ${facts.user} has asked`);
    }
    return reply;
  }

  async #hello(door: Door, pin: string): Promise<JoinFacts> {
    const { key, user, role, machine, token, signal } = this.#options;
    const nonce = newNonce();
    const hello = { v: 1, user, nkey: key.publicKey, role, commitment: commitmentTo(nonce), machine };
    const { swarmId, challenge } = await post(door, JOIN_PATHS.hello, hello, helloReply, signal);
    if (door.serverName !== undefined && door.serverName !== serverNameOf(swarmId)) {
      throw new VgasError(
        "CERTIFICATE_MISMATCH",
        `what answers at ${hostPort(door.host, door.port)} says that it is ${swarmId}`,
      );
    }
    this.#options.onProgress({ type: "joining", where: hostPort(door.host, door.port), swarmId });
    const facts = { swarmId, pin, challenge, nonce, nkey: key.publicKey, user, role };
    if (token === undefined) this.#open = facts;
    return facts;
  }

  async #prove(door: Door, facts: JoinFacts): Promise<Admitted> {
    const { token, signal } = this.#options;
    if (token === undefined) throw new VgasError("INTERNAL", "there is no token to prove");
    const proof = { id: token.id, publicKey: tokenPublicKey(token), signature: signProof(token, facts) };
    const { challenge, nonce } = facts;
    return await post(door, JOIN_PATHS.prove, { v: 1, challenge, nonce, token: proof }, admitted, signal);
  }

  async #wait(door: Door, facts: JoinFacts): Promise<Admitted> {
    const { signal, clock, random, user, onProgress, onCompare } = this.#options;
    const { challenge, nonce } = facts;
    const fingerprint = fingerprintOf(facts);
    for (;;) {
      const reply = await post(door, JOIN_PATHS.ask, { v: 1, challenge, nonce }, askReply, signal).catch(
        (error: unknown) => {
          // The swarm does not know the question any more.
          if (error instanceof VgasError && error.code === "PROOF_REFUSED") this.#open = undefined;
          throw error;
        },
      );
      if (reply.state === "admitted") {
        if (this.#shown === fingerprint) return reply;
        const message =
          "it lets this node in before anybody could compare a fingerprint: it may not be the swarm that is meant";
        throw new VgasError("CERTIFICATE_MISMATCH", message);
      }
      if (!sameFingerprint(reply.fingerprint, fingerprint)) {
        const message = `the swarm shows the fingerprint ${reply.fingerprint}, and here it is ${fingerprint}: somebody is in between`;
        throw new VgasError("CERTIFICATE_MISMATCH", message);
      }
      if (this.#shown !== fingerprint) {
        await onCompare(facts);
        this.#shown = fingerprint;
        onProgress({ type: "pending", where: hostPort(door.host, door.port), user, fingerprint });
      }
      await pause(clock, POLL_MS * (0.75 + random() / 2), signal);
      if (signal.aborted) throw new VgasError("ABORTED", "asking was given up");
    }
  }
}
