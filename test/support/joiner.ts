/** Speaks the join protocol with a door by hand, rightly or wrongly. */
import { createUser } from "@nats-io/nkeys";
import type { AdmissionDoor } from "../../src/admission/door.ts";
import { commitmentTo, newNonce } from "../../src/admission/fingerprint.ts";
import { signProof, type Token, tokenPublicKey } from "../../src/admission/token.ts";
import type { JoinFacts } from "../../src/protocols/admission.ts";

export interface Said {
  readonly status: number;
  /** Code of the refusal. */
  readonly code: string | undefined;
  readonly body: Readonly<Record<string, unknown>>;
}

export class Joiner {
  readonly user: string;
  readonly nkey: string;
  readonly role: "worker" | "client";
  readonly address: string;
  readonly #door: () => AdmissionDoor;

  constructor(
    door: () => AdmissionDoor,
    user: string,
    options: Partial<Pick<Joiner, "nkey" | "role" | "address">> = {},
  ) {
    this.#door = door;
    this.user = user;
    this.nkey = options.nkey ?? createUser().getPublicKey();
    this.role = options.role ?? "worker";
    this.address = options.address ?? "10.0.0.7";
  }

  async post(path: string, body: object | string | Uint8Array): Promise<Said> {
    const bytes =
      body instanceof Uint8Array
        ? body
        : new TextEncoder().encode(typeof body === "string" ? body : JSON.stringify(body));
    const answer = await this.#door().handle({ path: `/join/${path}`, body: bytes, address: this.address });
    const said = answer.body as Record<string, unknown>;
    const error = said["error"] as { code?: string } | undefined;
    return { status: answer.status, code: error?.code, body: said };
  }

  /** Says hello; the facts that a proof is over. */
  async hello(pin: string): Promise<JoinFacts> {
    const nonce = newNonce();
    const { user, nkey, role } = this;
    const { body } = await this.post("hello", {
      v: 1,
      user,
      nkey,
      role,
      commitment: commitmentTo(nonce),
      machine: "m1",
    });
    return { swarmId: String(body["swarmId"]), pin, challenge: String(body["challenge"]), nonce, nkey, user, role };
  }

  /** Proves; `signed` are the facts that are signed, where they are not those that hold. */
  async prove(token: Token, facts: JoinFacts, signed: JoinFacts = facts): Promise<Said> {
    const proof = { id: token.id, publicKey: tokenPublicKey(token), signature: signProof(token, signed) };
    return await this.post("prove", { v: 1, challenge: facts.challenge, nonce: facts.nonce, token: proof });
  }

  async ask({ challenge, nonce }: JoinFacts): Promise<Said> {
    return await this.post("ask", { v: 1, challenge, nonce });
  }

  /** The whole way with a token. */
  async join(token: Token, pin: string = token.pin): Promise<Said> {
    return await this.prove(token, await this.hello(pin));
  }
}
