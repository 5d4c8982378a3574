/**
 * The vault's file: who it is, how its key is made of a passphrase, and a body that only this key opens.
 *
 * ```
 *   0   8  "vgasvlt" and the version of this format, 1
 *   8  16  vault id, random
 *  24   8  generation: 1 at first, one more at each write
 *  32   4  kdf: 1 = scrypt, log2 N, r, p
 *  36  32  salt of the kdf
 *  68  32  commitment: HKDF(root, "commitment"), tells whether a passphrase is the right one before anything is decrypted
 * 100  12  IV of the body
 * 112   4  n: bytes of the body with its tag
 * 116   n  body: AES-256-GCM under HKDF(root, "body"), everything before it as associated data; its tag of 16 bytes last
 * 116+n 32 SHA-256 of everything before it, without a key
 * ```
 *
 * Integers are unsigned, most significant byte first. root = scrypt(passphrase, salt); HKDF is HKDF-SHA256 with the vault id
 * as its salt and "vgas.vault.v1 " before what is quoted here. The body is what body.ts says, in msgpack.
 *
 * 1. Checksum wrong: the file is damaged, by accident. Right, and the commitment is not the passphrase's: the passphrase is
 *    wrong (or somebody changed the salt, the parameters or the commitment, which looks the same). Both right, and the body
 *    does not open: somebody tampered with the file.
 * 2. No parameter is used before it was found to be within its bounds, so a file cannot make its reader weak or busy.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { IV_BYTES, openAead, sealAead, TAG_BYTES } from "../../../bus/sealed/aead.ts";
import type { Secret } from "../../../bus/sealed/secret.ts";
import { VgasError } from "../../../protocols/errors.ts";
import type { RandomBytes } from "./blob.ts";
import { type KdfCost, refusalOf, SALT_BYTES } from "./kdf.ts";

const MAGIC = Buffer.from("vgasvlt\x01", "latin1");
const KDF_SCRYPT = 1;
export const VAULT_ID_BYTES = 16;
const COMMITMENT_BYTES = 32;
const CHECKSUM_BYTES = 32;

const AT = { vaultId: 8, generation: 24, kdf: 32, salt: 36, commitment: 68, iv: 100, length: 112, body: 116 } as const;
const MIN_BYTES = AT.body + TAG_BYTES + CHECKSUM_BYTES;

/** Largest file that is read or written: some ten thousand keys, and nothing that a reader could not hold. */
export const MAX_FILE_BYTES = 16 * 1024 * 1024;

export interface Header {
  readonly vaultId: Buffer;
  readonly generation: number;
  readonly cost: KdfCost;
  readonly salt: Buffer;
  readonly commitment: Buffer;
}

/** A file that is whole; its body is still sealed. */
export interface Container {
  readonly header: Header;
  /** SHA-256 of the whole file, hex: what `sha256sum` prints. */
  readonly digest: string;
  readonly bytes: Buffer;
}

/** Takes a file apart. @throws VgasError VAULT_DAMAGED saying what is wrong */
export function parseContainer(file: Uint8Array): Container {
  // A copy: what is bound and decrypted later is what was checked here.
  const bytes = Buffer.from(file);
  if (bytes.length < MIN_BYTES) throw damaged(`has ${bytes.length} bytes, fewer than any vault`);
  if (bytes.length > MAX_FILE_BYTES) throw damaged(`has ${bytes.length} bytes, more than ${MAX_FILE_BYTES}`);
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw damaged("does not begin as a vault of this version does");
  const end = bytes.length - CHECKSUM_BYTES;
  if (!sha256(bytes.subarray(0, end)).equals(bytes.subarray(end))) throw damaged("is damaged: its checksum is wrong");
  const length = bytes.readUInt32BE(AT.length);
  if (AT.body + length !== end || length < TAG_BYTES) throw damaged(`says that its body has ${length} bytes`);
  const generation = Number(bytes.readBigUInt64BE(AT.generation));
  if (!Number.isSafeInteger(generation) || generation < 1) throw damaged(`says that its generation is ${generation}`);
  const [kdf, log2N = 0, r = 0, p = 0] = bytes.subarray(AT.kdf, AT.salt);
  if (kdf !== KDF_SCRYPT) throw damaged(`names the unknown key derivation ${kdf}`);
  const cost = { log2N, r, p };
  const refusal = refusalOf(cost);
  if (refusal !== undefined) throw damaged(`is not used: ${refusal}`);
  const part = (at: number, size: number): Buffer => bytes.subarray(at, at + size);
  const header: Header = {
    vaultId: part(AT.vaultId, VAULT_ID_BYTES),
    generation,
    cost,
    salt: part(AT.salt, SALT_BYTES),
    commitment: part(AT.commitment, COMMITMENT_BYTES),
  };
  return { header, digest: digestOf(bytes), bytes };
}

/** Builds a file; `body` stays the caller's to wipe. @throws VgasError TOO_LARGE */
export function buildContainer(header: Header, key: Secret, body: Uint8Array, randomBytes: RandomBytes): Container {
  const length = body.length + TAG_BYTES;
  const total = AT.body + length + CHECKSUM_BYTES;
  if (total > MAX_FILE_BYTES) {
    throw new VgasError("TOO_LARGE", `the vault would have ${total} bytes, more than ${MAX_FILE_BYTES}`);
  }
  const { vaultId, generation, cost, salt, commitment } = header;
  const iv = randomBytes(IV_BYTES);
  const head = Buffer.alloc(AT.body);
  MAGIC.copy(head);
  vaultId.copy(head, AT.vaultId);
  head.writeBigUInt64BE(BigInt(generation), AT.generation);
  head.set([KDF_SCRYPT, cost.log2N, cost.r, cost.p], AT.kdf);
  salt.copy(head, AT.salt);
  commitment.copy(head, AT.commitment);
  iv.copy(head, AT.iv);
  head.writeUInt32BE(length, AT.length);
  const sealed = key.use((bytes) => sealAead(bytes, iv, body, head));
  const checksum = createHash("sha256").update(head).update(sealed).digest();
  // Parsed again, so that nothing is ever written that could not be read.
  return parseContainer(Buffer.concat([head, sealed, checksum]));
}

/** Whether the keys that a passphrase gave are those of the file. */
export function isCommittedTo({ header }: Container, commitment: Uint8Array): boolean {
  return timingSafeEqual(header.commitment, commitment);
}

/** The body, which is the caller's to wipe. @throws VgasError VAULT_DAMAGED if somebody tampered with the file */
export function openContainer({ bytes }: Container, key: Secret): Buffer {
  const head = bytes.subarray(0, AT.body);
  const sealed = bytes.subarray(AT.body, bytes.length - CHECKSUM_BYTES);
  try {
    return key.use((raw) => openAead(raw, bytes.subarray(AT.iv, AT.iv + IV_BYTES), sealed, head));
  } catch (error) {
    throw damaged("was tampered with: its checksum and passphrase are right, but its contents do not open", error);
  }
}

/** `problem` goes on after "the vault file ". */
export function damaged(problem: string, cause?: unknown): VgasError {
  return new VgasError("VAULT_DAMAGED", `the vault file ${problem}`, cause === undefined ? undefined : { cause });
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}

function digestOf(bytes: Uint8Array): string {
  return sha256(bytes).toString("hex");
}
