/**
 * What stands in the body of a vault's file, in msgpack. Every key in it is sealed once more, so the body in the clear, and
 * whatever the encoder leaves of it in memory, holds none:
 *
 * ```
 * {v: 1,
 *  terms:   [{term, key}],     term keys, each a blob sealed by the wrap key
 *  secret,                     the vault secret, a blob sealed by the wrap key
 *  records: [{provider, name, version, term, createdAt, changedAt, last4?, fingerprint, settings,
 *             dataKey,         a blob sealed by the term's key
 *             sealed}]}        the provider's key, a blob sealed by the data key
 * ```
 */
import { z } from "zod";
import { decode, encode } from "../../../bus/codec/codec.ts";
import { keySettings, token } from "../../../protocols/vault/keys.ts";
import { damaged } from "./container.ts";
import type { SealedKeyring } from "./keyring.ts";
import type { SealedRecord } from "./records.ts";

export interface Body {
  readonly keyring: SealedKeyring;
  readonly records: readonly SealedRecord[];
}

const count = z.number().int().min(1);
/** A copy: what is decoded is a view on the body, which is wiped. */
const blob = z.custom<Uint8Array>((value) => value instanceof Uint8Array).transform((bytes) => Buffer.from(bytes));

const sealedRecord = z.strictObject({
  provider: token,
  name: token,
  version: count,
  term: count,
  createdAt: z.number(),
  changedAt: z.number(),
  last4: z.string().optional(),
  fingerprint: z.string(),
  settings: keySettings,
  dataKey: blob,
  sealed: blob,
});

const body = z.strictObject({
  v: z.literal(1),
  terms: z.array(z.strictObject({ term: count, key: blob })).min(1),
  secret: blob,
  records: z.array(sealedRecord),
});

/** The bytes are the caller's to wipe. */
export function encodeBody({ keyring, records }: Body): Uint8Array {
  return encode({ v: 1, terms: keyring.terms, secret: keyring.secret, records });
}

/** @throws VgasError VAULT_DAMAGED: written by another vgas, or by a defect of this one, since it was authentic */
export function decodeBody(bytes: Uint8Array): Body {
  try {
    const { terms, secret, records } = body.parse(decode(bytes));
    const names = new Set(records.map(({ provider, name }) => `${provider}/${name}`));
    if (names.size !== records.length) throw damaged("holds two keys of one name");
    return { keyring: { terms, secret }, records };
  } catch (error) {
    throw damaged("is authentic, but holds something that this version of vgas does not know", error);
  }
}
