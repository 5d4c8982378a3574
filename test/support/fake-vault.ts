/** An actor `vault` that checks signatures and does what a test says: for tests of those who ask the vault. */
import { createHash } from "node:crypto";
import { setup } from "xstate";
import type { MailOf } from "../../src/actors/runtime/definition.ts";
import { decode } from "../../src/bus/codec/codec.ts";
import { generateBoxKeys, sealBox } from "../../src/bus/sealed/sealed-box.ts";
import { verifySignature } from "../../src/bus/sealed/signing.ts";
import { VgasError } from "../../src/protocols/errors.ts";
import { REQUEST_DOMAIN, request as requestSchema, VAULT_PROTOCOL } from "../../src/protocols/vault/messages.ts";
import type { CallReply, CallRequest, OperationArgs } from "../../src/protocols/vault/operations.ts";

type Mail = MailOf<typeof VAULT_PROTOCOL>;

/** What an asker sent, with the digest that a leased key is bound to. */
interface Asked {
  readonly op: string;
  readonly user: string;
  readonly args: unknown;
  readonly digest: Buffer;
}

export class FakeVault {
  readonly asked: Asked[] = [];
  readonly #boxKeys = generateBoxKeys();
  readonly #publicKeys: ReadonlyMap<string, string>;
  /** Thrown instead of an answer; told how many operations came before. */
  refuse: (op: string, before: number) => VgasError | undefined = () => undefined;
  /** Leased to whoever asks. */
  key = "sk-canary-2718281828459045";
  /** Until when it is leased, ms since the epoch. */
  expiresAt = (): number => Date.now() + 60_000;
  /** Answers brokered calls. */
  call: (request: CallRequest) => CallReply = () => ({});

  /** `publicKeys` are those of the users that it knows. */
  constructor(publicKeys: ReadonlyMap<string, string>) {
    this.#publicKeys = publicKeys;
  }

  /** For `ActorSystem.spawn`. */
  definition() {
    const machine = setup({ types: { events: {} as Mail } }).createMachine({
      on: {
        hello: { actions: ({ event }) => event.reply(this.hello()) },
        operation: {
          actions: ({ event }) => {
            try {
              event.reply(this.operation(event));
            } catch (error) {
              event.fail(error);
            }
          },
        },
      },
    });
    return { machine, protocol: VAULT_PROTOCOL, scope: "swarm" } as const;
  }

  hello() {
    const { publicKey } = this.#boxKeys;
    return { v: 1, boot: "life-1", now: Date.now(), publicKey, state: "unsealed", host: "nodezero" } as const;
  }

  operation({
    user,
    body,
    signature,
  }: {
    readonly user: string;
    readonly body: Uint8Array;
    readonly signature: Uint8Array;
  }): unknown {
    const known = this.#publicKeys.get(user) ?? "";
    if (!verifySignature(known, Buffer.concat([Buffer.from(REQUEST_DOMAIN), body]), signature))
      throw new VgasError("PERMISSION_DENIED", `not signed by ${user}`);
    const { op, args } = requestSchema.parse(decode(body));
    const digest = createHash("sha256").update(body).digest();
    const refusal = this.refuse(op, this.asked.length);
    this.asked.push({ op, user, args, digest });
    if (refusal !== undefined) throw refusal;
    if (op === "call") return this.call(args as CallRequest);
    const { publicKey } = args as OperationArgs<"lease">;
    const sealed = sealBox(publicKey, Buffer.from(this.key), digest);
    return { sealed, key: "main", version: 3, expiresAt: this.expiresAt() };
  }
}
