/**
 * A provider's key at rest: sealed by a data key of its own, which the term's key seals. Both are bound to the vault, the
 * provider, the key's name, its version and its term, so a record that was swapped, renamed or rolled back does not open.
 */
import { createHmac } from "node:crypto";
import { KEY_BYTES } from "../../../bus/sealed/aead.ts";
import { Secret } from "../../../bus/sealed/secret.ts";
import { VgasError } from "../../../protocols/errors.ts";
import { isToken } from "../../../protocols/tokens.ts";
import type { KeySettings, ResolvedKeySettings } from "../../../protocols/vault/keys.ts";
import { MAX_SECRET_BYTES } from "../../../protocols/vault/operations.ts";
import { associated, openBlob, type RandomBytes, sealBlob } from "./blob.ts";
import { damaged } from "./container.ts";
import { DOMAIN, type Keyring } from "./keyring.ts";
import { resolveSettings } from "./provider-defaults.ts";

/** From this length on the last four characters leave at least sixteen unknown. */
const MIN_LENGTH_FOR_LAST4 = 20;
/** Twelve bytes: two keys of one vault do not meet by chance. */
const FINGERPRINT_BYTES = 12;

/** What names one version of a key. */
export interface KeyIdentity {
  readonly provider: string;
  readonly name: string;
  readonly version: number;
  readonly term: number;
}

/** A key as it stands in the body and in memory. */
export interface SealedRecord extends KeyIdentity {
  /** Milliseconds since the epoch: of its first version, and of this one. */
  readonly createdAt: number;
  readonly changedAt: number;
  readonly last4?: string | undefined;
  readonly fingerprint: string;
  /** Only what was set; the defaults are the provider's. */
  readonly settings: KeySettings;
  readonly dataKey: Buffer;
  readonly sealed: Buffer;
}

/** A key as others in the vault see it: everything but the key. */
export interface VaultRecord extends Omit<SealedRecord, "dataKey" | "sealed" | "settings"> {
  readonly settings: ResolvedKeySettings;
}

/** The sealed parts of a record. `key` stays the caller's to wipe. */
export function sealKey(
  keyring: Keyring,
  identity: KeyIdentity,
  key: Uint8Array,
  randomBytes: RandomBytes,
): Pick<SealedRecord, "dataKey" | "sealed"> {
  const dataKey = new Secret(randomBytes(KEY_BYTES));
  try {
    return {
      dataKey: dataKey.use((bytes) =>
        sealBlob(keyring.termKey(identity.term), bytes, binding("data key", keyring, identity), randomBytes),
      ),
      sealed: sealBlob(dataKey, key, binding("key", keyring, identity), randomBytes),
    };
  } finally {
    dataKey.wipe();
  }
}

/** The key, for the time of one synchronous call; then it is wiped. @throws VgasError VAULT_DAMAGED */
export function openKey<T>(keyring: Keyring, record: SealedRecord, read: (key: Buffer) => T): T {
  const key = openSealed(keyring, record);
  try {
    return read(key);
  } finally {
    key.fill(0);
  }
}

function openSealed(keyring: Keyring, record: SealedRecord): Buffer {
  const termKey = keyring.termKey(record.term);
  let dataKey: Secret | undefined;
  try {
    dataKey = new Secret(openBlob(termKey, record.dataKey, binding("data key", keyring, record)));
    return openBlob(dataKey, record.sealed, binding("key", keyring, record));
  } catch (error) {
    throw damaged(`was tampered with: the key ${record.provider}/${record.name} does not open`, error);
  } finally {
    dataKey?.wipe();
  }
}

/** What may be said of a key: its last characters, if they tell nothing, and a hash that only this vault can make. */
export function describeKey(keyring: Keyring, key: Buffer): Pick<SealedRecord, "last4" | "fingerprint"> {
  const secret = keyring.derive("fingerprint");
  try {
    const hash = secret.use((bytes) => createHmac("sha256", bytes).update(key).digest());
    const fingerprint = hash.subarray(0, FINGERPRINT_BYTES).toString("base64url");
    const last = key.subarray(-4);
    const telling = key.length < MIN_LENGTH_FOR_LAST4 || last.some((byte) => byte <= 0x20 || byte > 0x7e);
    return telling ? { fingerprint } : { fingerprint, last4: last.toString("latin1") };
  } finally {
    secret.wipe();
  }
}

export function viewOf(record: SealedRecord): VaultRecord {
  const { dataKey: _dataKey, sealed: _sealed, settings, ...open } = record;
  return Object.freeze({ ...open, settings: resolveSettings(record.provider, settings) });
}

/** @throws VgasError INVALID naming the bound, never the key */
export function checkKey(key: Secret): void {
  if (key.length < 1 || key.length > MAX_SECRET_BYTES) {
    throw new VgasError("INVALID", `a key must have 1 to ${MAX_SECRET_BYTES} bytes, not ${key.length}`);
  }
  key.use((bytes) => {
    if (bytes.some((byte) => byte < 0x20 || byte === 0x7f)) {
      throw new VgasError(
        "INVALID",
        "a key must not hold control characters such as a line's end: no header could carry it",
      );
    }
    if (bytes[0] === 0x20 || bytes.at(-1) === 0x20) {
      throw new VgasError("INVALID", "a key must not begin or end with a space: no header would keep it");
    }
  });
}

/** @throws VgasError INVALID */
export function checkNames(provider: string, name: string): void {
  for (const [what, value] of [["provider", provider] as const, ["key's name", name] as const]) {
    if (!isToken(value)) throw new VgasError("INVALID", `the ${what} must be a token [A-Za-z0-9_-]{1,64}`);
  }
}

function binding(
  what: "data key" | "key",
  { vaultId }: Keyring,
  { provider, name, version, term }: KeyIdentity,
): Buffer {
  return associated(`${DOMAIN}${what}`, vaultId, provider, name, version, term);
}
