/** The `openssl` command as a second implementation of everything that is sealed and signed. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";

/** Runs it on `input` and returns what it wrote. */
export function openssl(args: readonly string[], input: Uint8Array = new Uint8Array(0)): Buffer {
  const { error, status, stdout, stderr } = spawnSync("openssl", args, { input });
  if (error !== undefined) {
    throw new Error(
      `this test computes everything once more with the openssl command (3.0 or later): ${error.message}`,
    );
  }
  expect(status, `openssl ${args[0]}: ${stderr}`).toBe(0);
  return stdout;
}

/** A file of the running test with these bytes. */
export function fileOf(bytes: Uint8Array): string {
  const dir = mkdtempSync(join(tmpdir(), "vgas-openssl-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, "in"), bytes);
  return join(dir, "in");
}

/** AES-256-GCM put together from openssl's ECB and CTR, with GHASH computed here (SP 800-38D, 12-byte IVs). */
export function opensslGcm(key: Uint8Array, iv: Uint8Array, plaintext: Uint8Array, associated: Uint8Array): Buffer {
  const k = Buffer.from(key).toString("hex");
  const counter = (n: number): string => `${Buffer.from(iv).toString("hex")}${n.toString(16).padStart(8, "0")}`;
  const ctr = (from: number, bytes: Uint8Array): Buffer =>
    openssl(["enc", "-aes-256-ctr", "-K", k, "-iv", counter(from)], bytes);
  const h = openssl(["enc", "-aes-256-ecb", "-nopad", "-K", k], Buffer.alloc(16));
  const ciphertext = ctr(2, plaintext);
  const lengths = Buffer.alloc(16);
  lengths.writeBigUInt64BE(BigInt(associated.length) * 8n);
  lengths.writeBigUInt64BE(BigInt(plaintext.length) * 8n, 8);
  const padded = (bytes: Uint8Array): Buffer => Buffer.concat([bytes, Buffer.alloc((16 - (bytes.length % 16)) % 16)]);
  const hashed = ghash(h, Buffer.concat([padded(associated), padded(ciphertext), lengths]));
  return Buffer.concat([ciphertext, ctr(1, hashed)]);
}

function ghash(h: Buffer, blocks: Buffer): Buffer {
  const key = BigInt(`0x${h.toString("hex")}`);
  let y = 0n;
  for (let at = 0; at < blocks.length; at += 16) {
    const x = y ^ BigInt(`0x${blocks.toString("hex", at, at + 16)}`);
    y = 0n;
    // Multiplication in GF(2^128), the most significant bit being the coefficient of x^0.
    for (let v = key, bit = 127n; bit >= 0n; bit--) {
      if ((x >> bit) & 1n) y ^= v;
      v = v & 1n ? (v >> 1n) ^ (0xe1n << 120n) : v >> 1n;
    }
  }
  return Buffer.from(y.toString(16).padStart(32, "0"), "hex");
}

export function opensslHkdf(secret: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Buffer {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
  const options = [`hexkey:${hex(secret)}`, `hexsalt:${hex(salt)}`, `hexinfo:${hex(info)}`, "digest:SHA256"];
  const given = options.filter((option) => !option.endsWith(":")).flatMap((option) => ["-kdfopt", option]);
  return openssl(["kdf", "-binary", "-keylen", String(length), ...given, "HKDF"]);
}
