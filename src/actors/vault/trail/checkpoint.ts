/**
 * A signed statement that a record stood in the trail: `{v, vaultId, seq, mac, at, signer, signature}` as JSON. Pure.
 *
 * The signature covers CHECKPOINT_DOMAIN and the JSON text of the other fields in this order. The record vouches for all before it,
 * so who holds a checkpoint notices whatever is later changed or cut off up to there, whoever did it with whatever keys.
 */
import { z } from "zod";
import { type Signer, verifySignature } from "../../../bus/sealed/signing.ts";
import { CHECKPOINT_DOMAIN } from "../../../protocols/vault/messages.ts";

const fields = z.strictObject({
  v: z.literal(1),
  vaultId: z.string(),
  /** 0: the trail before is gone, which an operator has accepted, and another one begins. */
  seq: z.number().int().min(0),
  mac: z.string(),
  /** Milliseconds since the epoch. */
  at: z.number(),
  /** Public key, `U…`. */
  signer: z.string(),
  /** base64url. */
  signature: z.string(),
});
export type Checkpoint = Omit<z.infer<typeof fields>, "v" | "signature">;

/**
 * A checkpoint as it was read, or why it vouches for nothing: who was not the vault's node may have sent it, so it says nothing against
 * the trail either.
 */
export type ReadCheckpoint = Checkpoint | { readonly problem: string };

export function signCheckpoint(said: Omit<Checkpoint, "signer">, signer: Signer): Buffer {
  const text = statement({ ...said, signer: signer.publicKey });
  const signature = Buffer.from(signer.sign(signedBytes(text))).toString("base64url");
  return Buffer.from(`${text.slice(0, -1)},"signature":"${signature}"}`);
}

/** `trusted` is the public key of the vault's node. */
export function readCheckpoint(bytes: Uint8Array, vaultId: string, trusted: string): ReadCheckpoint {
  const parsed = fields.safeParse(parseJson(bytes));
  if (!parsed.success) return { problem: "is no checkpoint" };
  const { v: _v, signature, ...checkpoint } = parsed.data;
  if (checkpoint.vaultId !== vaultId) return { problem: "is of another vault" };
  if (checkpoint.signer !== trusted)
    return { problem: `is signed by ${checkpoint.signer}, which is not the vault's node` };
  const good = verifySignature(
    checkpoint.signer,
    signedBytes(statement(checkpoint)),
    Buffer.from(signature, "base64url"),
  );
  return good ? checkpoint : { problem: "has a wrong signature" };
}

function statement({ vaultId, seq, mac, at, signer }: Checkpoint): string {
  return JSON.stringify({ v: 1, vaultId, seq, mac, at, signer });
}

function signedBytes(text: string): Buffer {
  return Buffer.from(`${CHECKPOINT_DOMAIN}${text}`);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8"));
  } catch {
    return undefined;
  }
}
