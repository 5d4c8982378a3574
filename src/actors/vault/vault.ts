/**
 * The vault: owner of the providers' keys. One entry point, `operation`; everything that it does or refuses is written down.
 *
 * Owns the store for the time of the process, and one `Opened` at a time: everything of one life of the actor, from `live` to the
 * stop of its machine. A host whose event loop was blocked loses its names for a moment; its vault must not come back sealed.
 *
 * 1. What is done is in the trail before its answer leaves; a key is used only after its record is on disk (P11).
 * 2. What is refused to a known user is in the trail too. Refusals of unknown senders are counted, a record a second at most, so
 *    that nobody can fill the disk.
 * 3. A key, a passphrase and a body are in no error, log, record or answer, except a key sealed for who asked for it (P10).
 */
import { randomBytes } from "node:crypto";
import { type BoxKeys, generateBoxKeys } from "../../bus/sealed/sealed-box.ts";
import type { Secret } from "../../bus/sealed/secret.ts";
import { toWireError, VgasError } from "../../protocols/errors.ts";
import { type OperationMessage, VAULT_PROTOCOL } from "../../protocols/vault/messages.ts";
import type { OperationName } from "../../protocols/vault/operations.ts";
import type { ActorDefinition } from "../runtime/definition.ts";
import { type Admitted, Door, Refused } from "./door.ts";
import { type Look, type VaultEffects, type VaultEvent, vaultMachine } from "./machine.ts";
import { Opened, type OpenedOptions } from "./opened.ts";
import { VaultStore } from "./store/vault-store.ts";
import { StrangerTally } from "./stranger-tally.ts";
import type { Who } from "./trail/entry.ts";

export type VaultOptions = Omit<OpenedOptions, "boot" | "boxKeys" | "tell">;

/** Letters that may wait: reads of open calls are answered late, each agent that streams has one. */
const MAILBOX_LIMIT = 4_096;

interface Life {
  readonly boot: string;
  readonly boxKeys: BoxKeys;
  readonly door: Door;
  readonly strangers: StrangerTally;
  /** Rejects with what is wrong with the file or the trail. */
  readonly opened: Promise<Opened>;
}

export class Vault implements VaultEffects {
  readonly #options: VaultOptions;
  #life: Life | undefined;
  #closed: Promise<void> = Promise.resolve();
  #store: VaultStore | undefined;

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
    const { principals, hostId, clock, logger } = this.#options;
    const boot = randomBytes(12).toString("base64url");
    const boxKeys = generateBoxKeys();
    const before = this.#closed;
    // One life closes its files before the next opens them.
    const opened = before.then(async () => {
      this.#store ??= await VaultStore.open(this.#options);
      return await Opened.open(this.#store, { ...this.#options, boot, boxKeys, tell });
    });
    const strangers = new StrangerTally(clock, (detail) => {
      void opened
        .then(({ journal }) => journal.note({ op: "refusals", outcome: "refused", detail }))
        .catch(() => undefined);
    });
    const life: Life = { boot, boxKeys, door: new Door({ principals, hostId, boot, clock }), strangers, opened };
    this.#life = life;
    opened.catch((error: unknown) => {
      const why = error instanceof VgasError ? `${error.code}: ${error.message}` : String(error);
      logger.error({ err: error }, "the vault cannot be opened; the node goes on without it");
      tell({ type: "TROUBLE", why });
    });
    return () => {
      if (this.#life === life) this.#life = undefined;
      strangers.stop();
      this.#closed = opened.then(
        (all) => all.close(),
        () => undefined,
      );
    };
  }

  hello(mail: Parameters<VaultEffects["hello"]>[0], look: Look): void {
    const { boot, boxKeys, opened } = this.#living();
    const answer = (vaultId: string | undefined): void => {
      const { state, why } = look();
      mail.reply({
        v: 1,
        boot,
        now: this.#options.clock.now(),
        publicKey: boxKeys.publicKey,
        // Only a life that has ended never leaves it.
        state: state === "starting" ? "sealed" : state,
        host: this.#options.hostId,
        ...(why !== "" && { why }),
        ...(vaultId !== undefined && { vaultId }),
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
      if (error.who === undefined) life.strangers.count(error.error);
      else await this.#refuse(life, error.error, error.who, error.op);
      throw error.error;
    }
    try {
      await life.opened.catch(() => undefined);
      checkState(admitted.op, look());
      return await (await life.opened).perform(admitted);
    } catch (error) {
      await this.#refuse(life, error, admitted.who, admitted.op);
      throw error;
    }
  }

  /** Best effort: nothing was given, so a trail that cannot take it changes nothing for who was refused. */
  async #refuse(life: Life, error: unknown, who: Who, op: OperationName | undefined): Promise<void> {
    const { code, message } = toWireError(error);
    const outcome = error instanceof VgasError ? "refused" : "failed";
    await life.opened
      .then(({ journal }) => journal.note({ op: op ?? "unknown", outcome, who, why: `${code}: ${message}` }))
      .catch(() => undefined);
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
    if (op !== "init") throw new VgasError("VAULT_UNINITIALISED", "there is no vault yet: `vgas vault init` makes it");
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
