/**
 * Getting a key to an agent: leased to it, or used for it in a brokered call.
 *
 * 1. Which key: one that the provider has, that the task may use, that does not rest and whose budgets have room; such keys take
 *    turns.
 * 2. The budget is reserved before anything else, the use is written down next (P11), and only then is the key given or used: the
 *    very version that was written down. The reservation is released in the moment in which the actual use is counted, however
 *    long the trail cannot be written until then, so that no burst runs past a budget.
 * 3. A call has two records: `call` before it leaves, `call-end` with what it used.
 */
import { sealBox } from "../../bus/sealed/sealed-box.ts";
import { Secret } from "../../bus/sealed/secret.ts";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import { addUsage, NO_USAGE, type Usage } from "../../protocols/vault/keys.ts";
import type { Grant } from "../../protocols/vault/messages.ts";
import type { CallReply, OperationReply } from "../../protocols/vault/operations.ts";
import { toWireError } from "../../protocols/wire-error.ts";
import { type Budgets, leasable, type Reservation } from "./accounting/budgets.ts";
import { chargeOf } from "./accounting/charge.ts";
import type { KeyChooser } from "./accounting/chooser.ts";
import { type Estimate, estimateCall } from "./accounting/estimate.ts";
import { createMeter, type Meter } from "./accounting/meter.ts";
import type { Prices } from "./accounting/prices.ts";
import type { Calls } from "./calls/calls.ts";
import type { CallOutcome } from "./calls/open-call.ts";
import type { Asked } from "./custody.ts";
import { type Grants, taskOf } from "./grants.ts";
import type { Journal } from "./journal.ts";
import type { VaultRecord } from "./store/records.ts";
import type { VaultStore } from "./store/vault-store.ts";
import type { TrailEntry } from "./trail/entry.ts";

export interface KeyUseOptions {
  readonly store: VaultStore;
  readonly journal: Journal;
  readonly budgets: Budgets;
  readonly chooser: KeyChooser;
  readonly prices: Prices;
  readonly grants: Grants;
  readonly calls: Calls;
  readonly clock: Clock;
}

type Opening = Extract<Asked<"call">["args"], { readonly action: "open" }>;

/** A key that was chosen for a use, and the room in its budgets that is kept for it. */
interface Chosen {
  readonly record: VaultRecord;
  readonly reservation: Reservation;
  readonly estimate: Estimate;
}

/** A lease counts as a call; what is done with the key is not seen. */
const LEASE: Estimate = { calls: 1, tokens: 0, costNanoUsd: 0, inputTokens: 0, outputTokens: 0, priced: true };

/** A path in the trail is clipped to this many characters. */
const PATH_CHARS = 200;

export class KeyUse {
  readonly #options: KeyUseOptions;

  constructor(options: KeyUseOptions) {
    this.#options = options;
  }

  async lease(asked: Asked<"lease">): Promise<OperationReply<"lease">> {
    const { provider, grant: bytes, publicKey } = asked.args;
    const { grants, store, journal, budgets } = this.#options;
    const grant = await grants.check(bytes, asked.who, provider);
    const leases = this.#allowed(provider, grant).filter(
      ({ settings }) => settings.lease && leasable(settings.budgets),
    );
    if (leases.length === 0)
      throw new VgasError(
        "PERMISSION_DENIED",
        `no key of ${provider} may be leased to this task: make brokered calls with ctx.vault.fetch`,
      );
    const { record, reservation } = this.#choose(leases, LEASE);
    // In the same tick: the key may have another version after the next.
    let sealed: Uint8Array;
    try {
      sealed = store.withKey(provider, record.name, (key) => sealBox(publicKey, key, asked.digest));
      await journal.write({ ...this.#entry(asked, grant, record), usage: { leases: 1 } });
    } finally {
      budgets.settle(reservation);
    }
    this.#checkOpen();
    return { sealed, key: record.name, version: record.version, expiresAt: grant.expiresAt };
  }

  async call(asked: Asked<"call">): Promise<CallReply> {
    const { args, who } = asked;
    const { calls } = this.#options;
    switch (args.action) {
      case "open":
        return await this.#open(asked, args);
      case "write":
        return await calls.write(who.user, args.call, args.seq, args.data, args.more);
      case "read":
        return await calls.read(who.user, args.call, args.seq);
      case "cancel":
        return await calls.cancel(who.user, args.call);
    }
  }

  async #open(asked: Asked<"call">, request: Opening): Promise<CallReply> {
    const { provider, method, url, headers, body, more = false } = request;
    const { grants, store, journal, budgets, calls, prices } = this.#options;
    const grant = await grants.check(request.grant, asked.who, provider);
    const estimate = estimateCall({ provider, body, more, prices });
    const chosen = this.#choose(this.#allowed(provider, grant), estimate);
    const { record, reservation } = chosen;
    const id = calls.newId();
    const detail = { call: id, method, ...whereTo(url), ...capOf(record, estimate) };
    const entry = { ...this.#entry(asked, grant, record), detail };
    const call = {
      ...{ id, owner: asked.who.user, method, url, headers, more, settings: record.settings },
      ...(body !== undefined && { body }),
      expiresAt: grant.expiresAt,
    };
    let begun = false;
    // In the same tick as the choice: the key may have another version after the next.
    const held = store.withKey(provider, record.name, copyOf);
    try {
      calls.check(call);
      await journal.write({ ...entry, usage: { calls: 1 } });
      budgets.booked(reservation, { calls: 1 });
      begun = true;
      this.#checkOpen();
      let meter: Meter | undefined;
      const hooks = {
        onHead: (_status: number, answered: readonly (readonly [string, string])[]) => {
          const [, type = ""] = answered.find(([name]) => name.toLowerCase() === "content-type") ?? [];
          // What is looked at later, by GET, was counted when it was asked for.
          if (method !== "GET") meter = createMeter(type);
          return meter;
        },
        onEnd: (outcome: CallOutcome) => this.#ended(entry, chosen, outcome, meter),
      };
      held.use((secret) => calls.open({ ...call, ...hooks, secret }));
      return { call: id };
    } catch (error) {
      const settle = (): void => budgets.settle(reservation);
      if (begun) await journal.owe(callEnd(entry, error, { errors: 1 }), settle);
      else settle();
      throw error;
    } finally {
      held.wipe();
    }
  }

  /** Writes down what a call used; resolves with what it counts. */
  async #ended(
    entry: TrailEntry,
    { record, reservation, estimate }: Chosen,
    { status, error, bytesSent, bytesReceived, retryAfterMs }: CallOutcome,
    meter: Meter | undefined,
  ): Promise<Usage> {
    const { journal, budgets, chooser, prices, clock } = this.#options;
    const { provider, name, settings } = record;
    if (status !== undefined) chooser.answered({ provider, key: name }, status, retryAfterMs, clock.now());
    const tokens = meter?.end();
    const charge = chargeOf({ provider, budgets: settings.budgets, estimate, tokens, status, prices });
    const failed = error !== undefined || (status ?? 0) >= 400;
    const used: Partial<Usage> = { bytesSent, bytesReceived, ...(failed && { errors: 1 }), ...charge.usage };
    const facts = {
      ...(status !== undefined && { status }),
      ...(charge.model !== undefined && { model: charge.model }),
      ...(charge.estimated && { estimated: true }),
    };
    const written = await journal.owe(callEnd(entry, error, used, facts), () => budgets.settle(reservation));
    if (!written) throw new VgasError("AUDIT_FAILED", "the end of the call cannot be written down for now");
    return addUsage({ ...NO_USAGE, calls: 1 }, used);
  }

  /** It may have been sealed while the use was written down. */
  #checkOpen(): void {
    if (this.#options.store.state !== "open") throw new VgasError("VAULT_SEALED", "the vault was sealed");
  }

  /** Keys of the provider that the task may use. @throws VgasError NOT_FOUND, PERMISSION_DENIED */
  #allowed(provider: string, grant: Grant): readonly VaultRecord[] {
    const keys = this.#options.store.records().filter((record) => record.provider === provider);
    if (keys.length === 0) throw new VgasError("NOT_FOUND", `the vault has no key of the provider "${provider}"`);
    const allowed = keys.filter(({ settings: { kinds, pools, nodes } }) => {
      const open = (list: readonly string[] | undefined, value: string): boolean => list?.includes(value) ?? true;
      return open(kinds, grant.kind) && open(pools, grant.pool) && open(nodes, grant.host);
    });
    if (allowed.length > 0) return allowed;
    throw new VgasError(
      "PERMISSION_DENIED",
      `no key of ${provider} is for kind ${grant.kind} in pool ${grant.pool} on node ${grant.host}`,
    );
  }

  /** The key whose turn it is, of those that do not rest and have room. @throws VgasError KEY_RESTING, BUDGET_EXCEEDED */
  #choose(keys: readonly VaultRecord[], estimate: Estimate): Chosen {
    const { chooser, budgets, clock } = this.#options;
    const now = clock.now();
    let full: VgasError | undefined;
    let left = keys.map((record) => ({ provider: record.provider, key: record.name, record }));
    while (left.length > 0) {
      const choice = chooser.choose(left, now);
      if ("restingUntil" in choice) break;
      const { record, ...id } = choice;
      if (!estimate.priced && record.settings.budgets.some(({ unit }) => unit === "cost")) {
        full = new VgasError(
          "BUDGET_EXCEEDED",
          `${id.provider}/${id.key} has a budget of cost, and there is no price of that provider: add it to the vault's prices.json`,
        );
        left = left.filter((other) => other !== choice);
        continue;
      }
      const reservation = budgets.reserve(id, record.settings.budgets, estimate, now);
      if (!("refused" in reservation)) return { record, reservation, estimate };
      const { unit, per, limit, used, reserved, resetsAt } = reservation.refused;
      full = new VgasError(
        "BUDGET_EXCEEDED",
        `${id.provider}/${id.key}: ${used} ${unit} of ${limit} per ${per} are used and ${reserved} reserved, so this use has no room before ${new Date(resetsAt).toISOString()}`,
      );
      left = left.filter((other) => other !== choice);
    }
    if (full !== undefined) throw full;
    const until = Math.min(...left.map((id) => chooser.resting(id, now)?.until ?? now));
    throw new VgasError(
      "KEY_RESTING",
      `every usable key of ${keys[0]?.provider} rests until ${new Date(until).toISOString()}`,
    );
  }

  #entry(asked: Asked<"lease" | "call">, grant: Grant, { provider, name, version }: VaultRecord): TrailEntry {
    return { op: asked.op, outcome: "ok", who: asked.who, provider, key: name, version, task: taskOf(grant) };
  }
}

/** For a key with a budget of tokens or cost: what the call counts if its end is never written. */
function capOf(
  { settings }: VaultRecord,
  { inputTokens, outputTokens, costNanoUsd }: Estimate,
): Readonly<Record<string, number>> {
  return leasable(settings.budgets) ? {} : { inputTokens, outputTokens, costNanoUsd };
}

function callEnd(
  entry: TrailEntry,
  error: unknown,
  usage: Partial<Usage>,
  facts: TrailEntry["detail"] = {},
): TrailEntry {
  const end = { ...entry, op: "call-end" as const, detail: { call: entry.detail?.["call"] ?? "", ...facts }, usage };
  if (error === undefined) return { ...end, outcome: "ok" };
  const { code, message } = toWireError(error);
  return { ...end, outcome: "failed", why: `${code}: ${message}` };
}

function copyOf(key: Buffer): Secret {
  const copy = Buffer.allocUnsafeSlow(key.length);
  key.copy(copy);
  return new Secret(copy);
}

/** A query can hold anything, so it is left out. */
function whereTo(url: string): { origin: string; path: string } {
  const { origin, pathname } = URL.canParse(url) ? new URL(url) : { origin: "invalid", pathname: "" };
  return { origin, path: pathname.slice(0, PATH_CHARS) };
}
