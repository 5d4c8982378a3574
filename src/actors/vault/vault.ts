/**
 * The vault: owner of the providers' keys. One entry point, `operation`; everything that it does or refuses is written down.
 *
 * Owns the store for the time of the process, and one `Opened` at a time: everything of one life of the actor, from `live` to the
 * stop of its machine. A host whose event loop was blocked loses its names for a moment; its vault must not come back sealed.
 *
 * 1. What is done is in the trail before its answer leaves; a key is used only after its record is on disk (P11).
 * 2. What is refused is in the trail too, as far as nobody can fill the disk with it (refusal-tally.ts).
 * 3. A key, a passphrase and a body are in no error, log, record or answer, except a key sealed for who asked for it (P10).
 */
import { randomBytes } from "node:crypto";
import { signHello } from "../../bus/sealed/hello-signature.ts";
import { type BoxKeys, generateBoxKeys } from "../../bus/sealed/sealed-box.ts";
import type { Secret } from "../../bus/sealed/secret.ts";
import { VgasError } from "../../protocols/errors.ts";
import { type OperationMessage, VAULT_PROTOCOL } from "../../protocols/vault/messages.ts";
import type { OperationName } from "../../protocols/vault/operations.ts";
import { toWireError } from "../../protocols/wire-error.ts";
import type { ActorDefinition } from "../runtime/definition.ts";
import { type Admitted, Door, Refused } from "./door.ts";
import { type Look, type VaultEffects, type VaultEvent, vaultMachine } from "./machine.ts";
import { Opened, type OpenedOptions } from "./opened.ts";
import { RefusalTally } from "./refusal-tally.ts";
import { VaultStore } from "./store/vault-store.ts";
import type { Who } from "./trail/entry.ts";

export type VaultOptions = Omit<OpenedOptions, "boot" | "boxKeys" | "tell">;

/** Letters that may wait: reads of open calls are answered late, each agent that streams has one. */
const MAILBOX_LIMIT = 4_096;

/** Requests of one node under way: each of its 64 calls may be read and written, and others ask for leases. */
const MAX_BUSY = 512;
const BY_AGENTS: readonly OperationName[] = ["lease", "call"];
const OPERATORS: readonly string[] = ["system", "admin"];

const NEVER = new Promise<never>(() => undefined);

interface Life {
  readonly boot: string;
  readonly boxKeys: BoxKeys;
  readonly door: Door;
  readonly refusals: RefusalTally;
  readonly tell: (event: VaultEvent) => void;
  /** Rejects with what is wrong with the file or the trail. */
  opened: Promise<Opened>;
  /** It has rejected: what was wrong may have been mended since. */
  broken: boolean;
}

export class Vault implements VaultEffects {
  readonly #options: VaultOptions;
  #life: Life | undefined;
  #closed: Promise<void> = Promise.resolve();
  #store: VaultStore | undefined;
  /** Requests under way by user. */
  readonly #busy = new Map<string, number>();

  constructor(options: VaultOptions) {
    this.#options = options;
  }

  /** What `ActorSystem.spawn` takes. */
  definition(): ActorDefinition<typeof VAULT_PROTOCOL, typeof vaultMachine> {
    return {
      machine: vaultMachine,
      protocol: VAULT_PROTOCOL,
      scope: "swarm",
      input: this,
      mailboxLimit: MAILBOX_LIMIT,
    };
  }

  /** Opens the vault with the passphrase that the node was started with; wipes it. @throws as the operation `unseal` */
  async unlock(passphrase: Secret): Promise<void> {
    try {
      const { opened } = this.#living();
      await (await opened).custody.unlock(passphrase, { user: "system", role: "system", host: this.#options.hostId });
    } finally {
      passphrase.wipe();
    }
  }

  /** After the actor was stopped: resolves when everything is closed and the keys are wiped. */
  async close(): Promise<void> {
    await this.#closed;
    this.#store?.seal();
  }

  live(tell: (event: VaultEvent) => void): () => void {
    const { principals, hostId, clock } = this.#options;
    const boot = randomBytes(12).toString("base64url");
    const boxKeys = generateBoxKeys();
    const refusals = new RefusalTally(clock, (entry) => {
      void life.opened.then(({ journal }) => journal.note(entry)).catch(() => undefined);
    });
    const door = new Door({ principals, hostId, boot, clock });
    const life: Life = { boot, boxKeys, door, refusals, tell, opened: NEVER, broken: false };
    // One life closes its files before the next opens them.
    this.#open(life, this.#closed);
    this.#life = life;
    return () => {
      if (this.#life === life) this.#life = undefined;
      refusals.stop();
      this.#closed = life.opened.then(
        (all) =>
          all
            .close()
            .catch((error: unknown) => this.#options.logger.error({ err: error }, "the vault did not close cleanly")),
        () => undefined,
      );
    };
  }

  #open(life: Life, after: Promise<unknown>): void {
    const { boot, boxKeys, tell } = life;
    life.broken = false;
    life.opened = after.then(async () => {
      if (this.#store === undefined || this.#store.state === "absent")
        this.#store = await VaultStore.open(this.#options);
      return await Opened.open(this.#store, { ...this.#options, boot, boxKeys, tell });
    });
    life.opened.catch((error: unknown) => {
      const why = error instanceof VgasError ? `${error.code}: ${error.message}` : String(error);
      this.#options.logger.error({ why }, "the vault cannot be opened; the node goes on without it");
      life.broken = true;
      tell({ type: "TROUBLE", why });
    });
  }

  hello(mail: Parameters<VaultEffects["hello"]>[0], look: Look): void {
    const { boot, boxKeys, door, opened } = this.#living();
    const answer = (vaultId: string | undefined): void => {
      const { state, why } = look();
      const signed = { boot, now: door.now(), publicKey: boxKeys.publicKey };
      mail.reply({
        v: 1,
        ...signed,
        // Only a life that has ended never leaves it.
        state: state === "starting" ? "sealed" : state,
        host: this.#options.hostId,
        ...(why !== "" && { why }),
        ...(vaultId !== undefined && { vaultId }),
        ...(mail.challenge && { signature: signHello(this.#options.signer, signed, mail.challenge) }),
      });
    };
    opened.then(
      ({ store }) => answer(store.vaultId),
      () => answer(undefined),
    );
  }

  operation(mail: Parameters<VaultEffects["operation"]>[0], look: Look): void {
    this.#operate(mail, look).then(
      (reply) => mail.reply(reply),
      (error: unknown) => mail.fail(error),
    );
  }

  async #operate(message: OperationMessage, look: Look): Promise<unknown> {
    const life = this.#living();
    let admitted: Admitted;
    try {
      admitted = await life.door.admit(message);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      refuse(life, error.error, error.who, error.op);
      throw error.error;
    }
    let leave = (): void => undefined;
    try {
      leave = this.#enter(admitted.who);
      if (this.#life !== life) throw new VgasError("UNDELIVERABLE", "this life of the vault has ended");
      // Whatever else is wrong with this life.
      if (admitted.op === "seal") this.#store?.seal();
      // An operator who comes may have mended what was wrong.
      if (life.broken && !BY_AGENTS.includes(admitted.op)) this.#open(life, Promise.resolve());
      await life.opened.catch(() => undefined);
      checkState(admitted.op, look());
      return await (await life.opened).perform(admitted);
    } catch (error) {
      refuse(life, error, admitted.who, admitted.op);
      throw error;
    } finally {
      leave();
    }
  }

  /** Operators always get in. @throws VgasError MAILBOX_FULL for a user who has too many requests under way */
  #enter({ user, role }: Who): () => void {
    if (OPERATORS.includes(role)) return () => undefined;
    const busy = this.#busy.get(user) ?? 0;
    if (busy >= MAX_BUSY) throw new VgasError("MAILBOX_FULL", `${user} has ${busy} requests to the vault under way`);
    this.#busy.set(user, busy + 1);
    return () => {
      const left = (this.#busy.get(user) ?? 1) - 1;
      if (left > 0) this.#busy.set(user, left);
      else this.#busy.delete(user);
    };
  }

  #living(): Life {
    if (this.#life === undefined) throw new VgasError("UNDELIVERABLE", "the vault is not on this node at the moment");
    return this.#life;
  }
}

/** What can be asked when the vault is not unsealed. */
const WHILE_SEALED: readonly OperationName[] = ["unseal", "seal"];

function checkState(op: OperationName, { state, why }: ReturnType<Look>): void {
  if (state === "unsealed" || state === "starting") return;
  if (state === "uninitialised") {
    // A file may have been put back.
    if (op !== "init" && op !== "unseal")
      throw new VgasError("VAULT_UNINITIALISED", "there is no vault yet: `vgas vault init` makes it");
  } else if (state === "sealed") {
    if (!WHILE_SEALED.includes(op))
      throw new VgasError("VAULT_SEALED", "the vault is sealed: `vgas vault unseal` opens it");
  } else if (op !== "seal") {
    const [code, message] = [why.slice(0, why.indexOf(":")), why.slice(why.indexOf(":") + 2)];
    throw code === "VAULT_DAMAGED" || code === "CONFIG"
      ? new VgasError(code, message)
      : new VgasError("AUDIT_FAILED", `the vault has failed: ${why}`);
  }
}

/** Nothing was given, so nobody waits until it is written down. */
function refuse(life: Life, error: unknown, who: Who | undefined, op: OperationName | undefined): void {
  const { code, message } = toWireError(error);
  const outcome = error instanceof VgasError ? "refused" : "failed";
  life.refusals.count({ who, op, outcome, why: `${code}: ${message}` });
}
