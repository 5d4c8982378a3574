/** An actor `vault` of a test's own making on a real broker: checks signatures, opens what is sealed, answers as it is told. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach } from "vitest";
import type { Bus, BusMessage } from "../../../src/bus/bus.ts";
import { decode, encode } from "../../../src/bus/codec/codec.ts";
import { connectBus } from "../../../src/bus/connection.ts";
import { type Home, openHome } from "../../../src/bus/home/home.ts";
import { type NatsServer, startNatsServer } from "../../../src/bus/nats-server/server.ts";
import { signHello } from "../../../src/bus/sealed/hello-signature.ts";
import { generateBoxKeys, openBox, secretContext } from "../../../src/bus/sealed/sealed-box.ts";
import { type Signer, signerOf, verifySignature } from "../../../src/bus/sealed/signing.ts";
import { ensureTopology } from "../../../src/bus/topology.ts";
import { VgasError } from "../../../src/protocols/errors.ts";
import { TOPOLOGY_DEFAULTS } from "../../../src/protocols/streams.ts";
import { Names } from "../../../src/protocols/subjects.ts";
import type { KeyView } from "../../../src/protocols/vault/keys.ts";
import { NO_USAGE } from "../../../src/protocols/vault/keys.ts";
import {
  type Hello,
  helloMessage,
  operationMessage,
  REQUEST_DOMAIN,
  request,
  VAULT,
  type VaultState,
} from "../../../src/protocols/vault/messages.ts";
import { OPERATIONS, type OperationName } from "../../../src/protocols/vault/operations.ts";
import { toWireError } from "../../../src/protocols/wire-error.ts";

/** One operation as it came. */
export interface Done {
  readonly op: string;
  readonly user: string;
  /** Without what was sealed. */
  readonly args: Record<string, unknown>;
  /** What was sealed, opened. */
  readonly secret: string | undefined;
  readonly next: string | undefined;
}

/** A value, or what makes one of the arguments; a VgasError refuses. */
type Answer = object | ((args: Record<string, unknown>) => unknown);

export const KEY: KeyView = {
  provider: "openai",
  name: "default",
  version: 1,
  term: 1,
  last4: "9876",
  fingerprint: "f00dcafe",
  createdAt: Date.UTC(2026, 0, 2, 3, 4, 5),
  changedAt: Date.UTC(2026, 0, 2, 3, 4, 5),
  settings: {},
  usage: { ...NO_USAGE, calls: 3, leases: 1, inputTokens: 1_200, outputTokens: 30, costNanoUsd: 1_234_000 },
  budgets: [],
};

/** Registers a home with a broker and this vault with the test file. */
export function useFakeVault(): FakeVault {
  const vault = new FakeVault();
  beforeAll(() => vault.open());
  beforeEach(() => vault.reset());
  afterAll(() => vault.close());
  return vault;
}

export class FakeVault {
  readonly home = mkdtempSync(join(tmpdir(), "vgas-vault-"));
  readonly names = new Names();
  /** What was asked since the test began. */
  done: Done[] = [];
  state: VaultState = "unsealed";
  why: string | undefined;
  answers: Partial<Record<OperationName, Answer>> = {};
  readonly #keys = generateBoxKeys();
  /** Signs its `hello`: the home's node, unless a test puts somebody else in its place. */
  signer: Signer | undefined;
  #node: Signer | undefined;
  #opened: { readonly home: Home; readonly server: NatsServer; readonly bus: Bus } | undefined;
  #stop: (() => void) | undefined;
  #publicKeys = new Map<string, string>();

  async open(): Promise<void> {
    const home = await openHome(this.home);
    await home.lock();
    const onExit = (error: VgasError): void => console.error(error);
    const server = await startNatsServer({ home, port: 0, durability: "process", onExit });
    const { user, seed, inboxPrefix } = await home.credentials.read("system");
    this.#node = signerOf(user, seed);
    this.reset();
    const bus = await connectBus({ url: server.url, seed, inboxPrefix, name: "vault" });
    this.#opened = { home, server, bus };
    for (const { user, publicKey } of await home.credentials.list()) this.#publicKeys.set(user, publicKey);
    await ensureTopology(bus, this.names, TOPOLOGY_DEFAULTS);
    await this.listen();
  }

  /** Answers from now on. */
  async listen(): Promise<void> {
    const { bus } = this.#connection();
    const subscription = await bus.subscribe(this.names.actor(VAULT), (message) => this.#answer(bus, message));
    this.#stop = () => subscription.unsubscribe();
  }

  /** Nobody answers any more. */
  async leave(): Promise<void> {
    this.#stop?.();
    await this.#connection().bus.flush();
  }

  reset(): void {
    this.done = [];
    this.state = "unsealed";
    this.why = undefined;
    this.answers = {};
    this.signer = this.#node;
  }

  async close(): Promise<void> {
    await this.#opened?.bus.close();
    await this.#opened?.server.stop();
    await this.#opened?.home.release();
    rmSync(this.home, { recursive: true, force: true, maxRetries: 5 });
  }

  get credentials(): Home["credentials"] {
    return this.#connection().home.credentials;
  }

  get url(): string {
    return this.#connection().server.url;
  }

  #connection(): { readonly home: Home; readonly server: NatsServer; readonly bus: Bus } {
    if (this.#opened === undefined) throw new Error("the fake vault is not open");
    return this.#opened;
  }

  #answer(bus: Bus, message: BusMessage): void {
    let reply: object;
    try {
      const { type, ...fields } = decode(message.data) as { readonly type: string };
      reply = { value: type === "hello" ? this.#hello(helloMessage.parse(fields).challenge) : this.#operate(fields) };
    } catch (error) {
      reply = { error: toWireError(error) };
    }
    bus.respond(message, encode(reply));
  }

  #hello(challenge: Uint8Array | undefined): Hello {
    const signed = { boot: "boot", now: Date.now(), publicKey: this.#keys.publicKey };
    return {
      v: 1,
      ...signed,
      state: this.state,
      ...(this.why !== undefined && { why: this.why }),
      ...(this.state !== "uninitialised" && { vaultId: "vault-of-the-test" }),
      host: "master",
      ...(challenge && this.signer && { signature: signHello(this.signer, signed, challenge) }),
    };
  }

  #operate(fields: object): unknown {
    const { user, body, signature } = operationMessage.parse(fields);
    const signed = Buffer.concat([Buffer.from(REQUEST_DOMAIN), body]);
    if (!verifySignature(this.#publicKeys.get(user) ?? "", signed, signature)) throw new Error("a bad signature");
    const { op, boot, nonce, args } = request.parse(decode(body));
    const { sealed, next, ...rest } = OPERATIONS[op as OperationName].args.parse(args) as Record<string, unknown>;
    const open = (box: unknown): string | undefined =>
      box instanceof Uint8Array ? openBox(this.#keys, box, secretContext(op, boot, nonce)).toString() : undefined;
    this.done.push({ op, user, args: rest, secret: open(sealed), next: open(next) });
    const answer = this.answers[op as OperationName];
    const value = typeof answer === "function" ? answer(rest) : answer;
    if (value instanceof VgasError) throw value;
    return value ?? {};
  }
}
