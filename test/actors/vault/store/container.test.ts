import { createHash, randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  buildContainer,
  type Container,
  type Header,
  isCommittedTo,
  MAX_FILE_BYTES,
  openContainer,
  parseContainer,
} from "../../../../src/actors/vault/store/container.ts";
import { NEW_COST } from "../../../../src/actors/vault/store/kdf.ts";
import { Secret } from "../../../../src/bus/sealed/secret.ts";
import { VgasError } from "../../../../src/protocols/errors.ts";

const BODY = Buffer.from("what stands in the body, several words of it");
const key = new Secret(randomBytes(32));

function header(change: Partial<Header> = {}): Header {
  return {
    ...{ vaultId: randomBytes(16), generation: 7, cost: NEW_COST, salt: randomBytes(32), commitment: randomBytes(32) },
    ...change,
  };
}

/** As somebody would who can write the file: the checksum needs no key. */
function withChecksum(bytes: Buffer): Buffer {
  const end = bytes.length - 32;
  return Buffer.concat([bytes.subarray(0, end), createHash("sha256").update(bytes.subarray(0, end)).digest()]);
}

function patched(container: Container, at: number, ...bytes: readonly number[]): Buffer {
  const changed = Buffer.from(container.bytes);
  changed.set(bytes, at);
  return withChecksum(changed);
}

/** What somebody who has the file and the right passphrase gets: the body, or why not. */
function read(bytes: Uint8Array, commitment: Uint8Array): string {
  try {
    const container = parseContainer(bytes);
    return isCommittedTo(container, commitment) ? openContainer(container, key).toString("hex") : "WRONG_PASSPHRASE";
  } catch (error) {
    if (error instanceof VgasError) return error.code;
    throw error;
  }
}

describe("the container", () => {
  it("gives back what was put in, whatever it was", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 5_000 }),
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.constantFrom({ log2N: 15, r: 8, p: 1 }, { log2N: 17, r: 16, p: 4 }, { log2N: 18, r: 8, p: 2 }),
        (body, vaultId, generation, salt, cost) => {
          const given = header({ vaultId: Buffer.from(vaultId), generation, salt: Buffer.from(salt), cost });
          const parsed = parseContainer(buildContainer(given, key, body, randomBytes).bytes);
          expect(parsed.header).toEqual(given);
          expect(openContainer(parsed, key).equals(body)).toBe(true);
          expect(parsed.digest).toBe(createHash("sha256").update(parsed.bytes).digest("hex"));
        },
      ),
    );
  });

  it("refuses any bytes that are no vault as damaged", () => {
    const beginning = buildContainer(header(), key, BODY, randomBytes).bytes;
    fc.assert(
      fc.property(fc.nat(beginning.length), fc.uint8Array({ maxLength: 400 }), (kept, garbage) => {
        const bytes = Buffer.concat([beginning.subarray(0, kept), garbage]);
        fc.pre(!bytes.equals(beginning));
        expect(() => parseContainer(bytes)).toThrowError(expect.objectContaining({ code: "VAULT_DAMAGED" }));
        if (bytes.length < 32) return;
        const forged = read(withChecksum(bytes), randomBytes(32));
        expect(["VAULT_DAMAGED", "WRONG_PASSPHRASE"]).toContain(forged);
      }),
    );
  });

  it("is damaged when cut off anywhere, or longer", () => {
    const { bytes } = buildContainer(header(), key, BODY, randomBytes);
    for (let length = 0; length < bytes.length; length++) {
      const cut = bytes.subarray(0, length);
      expect(() => parseContainer(cut)).toThrowError(expect.objectContaining({ code: "VAULT_DAMAGED" }));
      if (length >= 32) expect(read(withChecksum(cut), randomBytes(32))).toBe("VAULT_DAMAGED");
    }
    expect(() => parseContainer(Buffer.concat([bytes, Buffer.of(0)]))).toThrowError(
      expect.objectContaining({ code: "VAULT_DAMAGED" }),
    );
    expect(() => parseContainer(Buffer.alloc(MAX_FILE_BYTES + 1))).toThrowError(/more than 16777216/);
  });

  it("tells damage, wrong passphrase and tampering apart, for every flipped bit", () => {
    const { bytes, header: written } = buildContainer(header(), key, BODY, randomBytes);
    expect(read(bytes, written.commitment)).toBe(BODY.toString("hex"));
    const seen = new Set<string>();
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(read(flipped, written.commitment)).toBe("VAULT_DAMAGED");
      if (bit >= (bytes.length - 32) * 8) continue;
      // With its checksum mended: the commitment's own bytes make the passphrase wrong, everything else is noticed.
      const inCommitment = bit >= 68 * 8 && bit < 100 * 8;
      const outcome = read(withChecksum(flipped), written.commitment);
      expect(outcome).toBe(inCommitment ? "WRONG_PASSPHRASE" : "VAULT_DAMAGED");
      seen.add(outcome);
    }
    expect(seen.size).toBe(2);
    const tampered = parseContainer(patched({ bytes } as Container, 120, 0, 0, 0, 0));
    expect(() => openContainer(tampered, key)).toThrowError(/tampered with/);
  });

  it("refuses parameters that are too weak or too costly before it works with them", () => {
    const container = buildContainer(header(), key, BODY, randomBytes);
    const cases = [
      { cost: [14, 8, 1], says: /log2N is 14, and must be 15 to 20/ },
      { cost: [21, 8, 1], says: /log2N is 21/ },
      { cost: [255, 255, 255], says: /log2N is 255/ },
      { cost: [17, 7, 1], says: /r is 7, and must be 8 to 16/ },
      { cost: [17, 17, 1], says: /r is 17/ },
      { cost: [17, 8, 0], says: /p is 0, and must be 1 to 4/ },
      { cost: [17, 8, 5], says: /p is 5/ },
      { cost: [20, 16, 1], says: /need 2147483648 bytes, more than 268435456/ },
      { cost: [18, 16, 1], says: /need 536870912 bytes/ },
    ];
    for (const { cost, says } of cases) {
      const forged = patched(container, 33, ...cost);
      expect(() => parseContainer(forged)).toThrowError(says);
      expect(read(forged, container.header.commitment)).toBe("VAULT_DAMAGED");
    }
    for (const cost of [
      [15, 8, 1],
      [18, 8, 4],
      [17, 16, 1],
    ]) {
      expect(() => parseContainer(patched(container, 33, ...cost))).not.toThrow();
    }
    expect(() => parseContainer(patched(container, 32, 2))).toThrowError(/unknown key derivation 2/);
  });

  it("refuses generations that no vault has, and a body that has another length than it says", () => {
    const container = buildContainer(header(), key, BODY, randomBytes);
    expect(() => parseContainer(patched(container, 24, 0, 0, 0, 0, 0, 0, 0, 0))).toThrowError(/generation is 0/);
    expect(() => parseContainer(patched(container, 24, 255, 255))).toThrowError(/generation is/);
    expect(() => parseContainer(patched(container, 112, 255, 255, 255, 255))).toThrowError(/4294967295 bytes/);
    expect(() => parseContainer(patched(container, 7, 2))).toThrowError(/does not begin as a vault/);
  });

  it("does not grow beyond what can be read", () => {
    expect(() => buildContainer(header(), key, Buffer.alloc(MAX_FILE_BYTES), randomBytes)).toThrowError(
      expect.objectContaining({ code: "TOO_LARGE" }),
    );
  });
});
