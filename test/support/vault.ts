/**
 * The real vault on a real nats-server, in the process of the test: its actor, a caller for each role, and grants as a
 * dispatcher signs them.
 */
import { mkdtempSync } from "node:fs";
import { basename, join } from "node:path";
import { createUser } from "@nats-io/nkeys";
import type { Principals } from "../../src/actors/vault/door.ts";
import type { Kdf } from "../../src/actors/vault/store/kdf.ts";
import { Vault } from "../../src/actors/vault/vault.ts";
import { AttemptsLog } from "../../src/bus/attempts.ts";
import { encode } from "../../src/bus/codec/codec.ts";
import { KvBucket } from "../../src/bus/kv.ts";
import { Publisher } from "../../src/bus/publisher.ts";
import { ResultStore } from "../../src/bus/results.ts";
import { generateBoxKeys, openBox } from "../../src/bus/sealed/sealed-box.ts";
import { Secret } from "../../src/bus/sealed/secret.ts";
import { type Signer, signerOf } from "../../src/bus/sealed/signing.ts";
import { VaultCaller } from "../../src/bus/sealed/vault-caller.ts";
import { systemClock } from "../../src/protocols/clock.ts";
import type { UserRole } from "../../src/protocols/roles.ts";
import { GRANT_DOMAIN, type Grant, type Hello, VAULT } from "../../src/protocols/vault/messages.ts";
import { quickKdf } from "../actors/vault/store/support.ts";
import { ActorHost } from "./actor-host.ts";
import { ManualClock } from "./manual-clock.ts";
import type { TestNats } from "./nats.ts";
import { until } from "./wait.ts";

export const PASSPHRASE = "correct horse battery staple";
export const VAULT_HOST = "master";

/** Who is in the swarm of these tests. */
const USERS: Readonly<Record<string, UserRole>> = {
  system: "system",
  admin: "admin",
  client: "client",
  observer: "observer",
  "node-a": "worker",
  "node-b": "worker",
  dealer: "dispatcher",
};

export interface TestVault {
  readonly dir: string;
  readonly vault: Vault;
  readonly host: ActorHost;
  readonly publisher: Publisher;
  readonly attempts: AttemptsLog;
  readonly results: ResultStore;
  readonly signers: Readonly<Record<string, Signer>>;
  caller(user: string): VaultCaller;
  /** Sends what it likes to the actor. */
  ask(message: { readonly type: string } & Record<string, unknown>): Promise<unknown>;
  /** A grant for a task that runs on node-a, signed by `dealer`, unless told otherwise. */
  grant(fields?: Partial<Grant>, signer?: string): Uint8Array;
  /** A lease of openai's key for a running task of node-a: what it says, and the key. */
  lease(task: string): Promise<{ readonly version: number; readonly key: string }>;
  init(): Promise<void>;
  store(provider: string, key: string, settings?: object, name?: string): Promise<void>;
  hello(): Promise<Hello>;
  /** Lets the host lose the vault's name, as one whose event loop was blocked; resolves with what the next life says of itself. */
  nextLife(): Promise<Hello>;
  /** Stops the actor and whatever it has open. */
  stop(): Promise<void>;
}

/** A lease of a name is shorter, and so is the pause of who stands by between two looks. */
const LEASE_IS_OVER_MS = 60_000;
const LOOK_MS = 1_000;

/**
 * Starts a vault on `dir`, or on a new directory; each directory is of a swarm of its own. Unless told otherwise its kdf costs nothing.
 * Its host's clock stands still, so that on a busy machine too it loses the name only where a test means it.
 */
export async function startVault(
  nats: TestNats,
  dir = mkdtempSync(join(nats.dir, "vault-")),
  kdf: Kdf = quickKdf,
): Promise<TestVault> {
  const clock = new ManualClock();
  const host = await ActorHost.start(nats, VAULT_HOST, { prefix: basename(dir), clock });
  const { bus, logger } = host;
  const { names } = host;
  const publisher = new Publisher(bus);
  const seeds = keysOf(nats);
  const signers = Object.fromEntries([...seeds].map(([user, seed]) => [user, signerOf(user, seed)]));
  const signer = (user: string): Signer => {
    const found = signers[user];
    if (found === undefined) throw new Error(`nobody is called ${user}`);
    return found;
  };
  const principals: Principals = {
    find: async (user) => {
      const role = USERS[user];
      return role === undefined ? undefined : { role, publicKey: signer(user).publicKey };
    },
  };
  const results = new ResultStore({ bus, publisher, names, clock: systemClock, logger });
  const attempts = new AttemptsLog(new KvBucket(bus, publisher, names.buckets.attempts), names);
  const vault = new Vault({
    dir,
    hostId: VAULT_HOST,
    ...{ bus, publisher, names, results, attempts, principals, logger },
    witnesses: new KvBucket(bus, publisher, names.buckets.vault),
    signer: signer("system"),
    clock: systemClock,
    // For the store, which takes the vault's own options.
    ...{ kdf },
  });
  const actor = await host.system.spawn(VAULT, vault.definition());
  const ask: TestVault["ask"] = (message) => host.system.ask(VAULT, message);
  const hello = async (): Promise<Hello> => (await ask({ type: "hello" })) as Hello;
  const caller = (user: string): VaultCaller =>
    new VaultCaller({
      ask: (message, how) => host.system.ask(VAULT, message, how),
      signer: signer(user),
      clock: systemClock,
      vaultKey: signer("system").publicKey,
    });
  const admin = caller("admin");
  const grant: TestVault["grant"] = (fields = {}, by = "dealer") => {
    const grant: Grant = {
      ...{ v: 1, pool: "default", kind: "chat", task: "t1", attempt: 1, host: "node-a", agent: "node-a.0" },
      ...{ providers: ["openai"], expiresAt: Date.now() + 60_000 },
      ...fields,
    };
    const body = encode(grant);
    const signature = signer(by).sign(Buffer.concat([Buffer.from(GRANT_DOMAIN), body]));
    return encode({ user: by, body, signature });
  };
  return {
    ...{ dir, vault, host, publisher, attempts, results, signers, caller, ask, hello },
    grant,
    nextLife: async () => {
      const { boot } = await hello();
      clock.jump(LEASE_IS_OVER_MS);
      for (;;) {
        const next = await hello().catch(() => undefined);
        if (next !== undefined && next.boot !== boot) return next;
        // Its next look is due when the one before is over.
        await until(() => clock.armed > 0);
        await clock.advance(LOOK_MS);
      }
    },
    lease: async (task) => {
      const keys = generateBoxKeys();
      const args = { provider: "openai", grant: grant({ task }), publicKey: keys.publicKey };
      const { reply, digest } = await caller("node-a").call("lease", args, { timeoutMs: 20_000 });
      return { version: reply.version, key: openBox(keys, reply.sealed, digest).toString() };
    },
    init: async () => {
      await admin.call("init", (seal) => ({ sealed: seal(Secret.fromUtf8(PASSPHRASE)) }), { timeoutMs: 20_000 });
    },
    store: async (provider, key, settings = {}, name = "default") => {
      const args = { provider, name, settings };
      await admin.call("store", (seal) => ({ ...args, sealed: seal(Secret.fromUtf8(key)) }), { timeoutMs: 20_000 });
    },
    stop: async () => {
      await actor.stop();
      await vault.close();
      results.close();
      publisher.close();
      await host.system.stop();
      await bus.close();
    },
  };
}

/** Each nats-server's swarm has its own people, who stay the same from one vault to the next. */
const people = new WeakMap<TestNats, Map<string, Uint8Array>>();

function keysOf(nats: TestNats): Map<string, Uint8Array> {
  let found = people.get(nats);
  if (found === undefined) {
    found = new Map(Object.keys(USERS).map((user) => [user, createUser().getSeed()]));
    people.set(nats, found);
  }
  return found;
}
