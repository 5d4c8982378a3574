/** Known answers for the very functions that seal and sign, and each of them once more by the machine's openssl. */
import { createPrivateKey, type KeyObject } from "node:crypto";
import { describe, expect, it } from "vitest";
import { openAead, sealAead } from "../../../src/bus/sealed/aead.ts";
import { encodeUserKey } from "../../../src/bus/sealed/nkey.ts";
import { hkdfSha256, privateKeyOf, publicKeyOf, rawPublicKey, x25519 } from "../../../src/bus/sealed/raw-keys.ts";
import { generateBoxKeys, openBox, sealBox } from "../../../src/bus/sealed/sealed-box.ts";
import { signerOf, verifySignature } from "../../../src/bus/sealed/signing.ts";
import { seedOf } from "./nkeys.ts";
import { fileOf, openssl, opensslGcm, opensslHkdf } from "./openssl.ts";

const hex = (text: string): Buffer => Buffer.from(text, "hex");

/** Test cases 13 to 16 of the GCM specification (McGrew and Viega), all that have a 256-bit key and a 96-bit IV. */
const GCM_KEY = "feffe9928665731c6d6a8f9467308308".repeat(2);
const GCM_PLAINTEXT =
  "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
const GCM_CIPHERTEXT =
  "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";
const GCM = [
  {
    name: "case 13",
    key: "00".repeat(32),
    iv: "00".repeat(12),
    plaintext: "",
    associated: "",
    sealed: "530f8afbc74536b9a963b4f1c4cb738b",
  },
  {
    name: "case 14",
    key: "00".repeat(32),
    iv: "00".repeat(12),
    plaintext: "00".repeat(16),
    associated: "",
    sealed: "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
  },
  {
    name: "case 15",
    key: GCM_KEY,
    iv: "cafebabefacedbaddecaf888",
    plaintext: GCM_PLAINTEXT,
    associated: "",
    sealed: `${GCM_CIPHERTEXT}b094dac5d93471bdec1a502270e3cc6c`,
  },
  {
    name: "case 16",
    key: GCM_KEY,
    iv: "cafebabefacedbaddecaf888",
    plaintext: GCM_PLAINTEXT.slice(0, 120),
    associated: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
    sealed: `${GCM_CIPHERTEXT.slice(0, 120)}76fc6ece0f4e1768cddf8853bb2d551b`,
  },
].map(({ name, ...fields }) => ({
  name,
  ...(Object.fromEntries(Object.entries(fields).map(([field, text]) => [field, hex(text)])) as Record<
    keyof typeof fields,
    Buffer
  >),
}));

describe("AES-256-GCM", () => {
  it.each(GCM)("seals and opens $name of the specification", ({ key, iv, plaintext, associated, sealed }) => {
    expect(sealAead(key, iv, plaintext, associated).toString("hex")).toBe(sealed.toString("hex"));
    expect(openAead(key, iv, sealed, associated).toString("hex")).toBe(plaintext.toString("hex"));
  });

  it.each(GCM)("does as openssl in $name", ({ key, iv, plaintext, associated, sealed }) => {
    expect(opensslGcm(key, iv, plaintext, associated).toString("hex")).toBe(sealed.toString("hex"));
  });

  it("takes no shorter tag, whatever its bytes", () => {
    const [, , , last] = GCM;
    if (!last) throw new Error("no vector");
    for (let bytes = 0; bytes < last.sealed.length; bytes++) {
      expect(() => openAead(last.key, last.iv, last.sealed.subarray(0, bytes), last.associated)).toThrow(/sealed/);
    }
  });

  it("takes no other sizes of keys and IVs", () => {
    expect(() => sealAead(Buffer.alloc(16), Buffer.alloc(12), Buffer.alloc(1))).toThrow(/key of 32 bytes/);
    expect(() => openAead(Buffer.alloc(32), Buffer.alloc(16), Buffer.alloc(32))).toThrow(/IV of 12/);
  });
});

/** RFC 5869, appendix A.1 to A.3: those with SHA-256. */
const range = (from: number, to: number): Buffer =>
  Buffer.from(Array.from({ length: to - from + 1 }, (_, i) => from + i));
const HKDF = [
  {
    name: "A.1",
    secret: Buffer.alloc(22, 0x0b),
    salt: range(0x00, 0x0c),
    info: range(0xf0, 0xf9),
    okm: "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
  },
  {
    name: "A.2",
    secret: range(0x00, 0x4f),
    salt: range(0x60, 0xaf),
    info: range(0xb0, 0xff),
    okm: "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
  },
  {
    name: "A.3",
    secret: Buffer.alloc(22, 0x0b),
    salt: Buffer.alloc(0),
    info: Buffer.alloc(0),
    okm: "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
  },
];

describe("HKDF-SHA256", () => {
  it.each(HKDF)("gives what RFC 5869 $name says", ({ secret, salt, info, okm }) => {
    expect(hkdfSha256(secret, salt, info, okm.length / 2).toString("hex")).toBe(okm);
  });

  it.each(HKDF)("does as openssl in $name", ({ secret, salt, info, okm }) => {
    expect(opensslHkdf(secret, salt, info, okm.length / 2).toString("hex")).toBe(okm);
  });
});

/** RFC 7748, section 5.2 (both vectors) and section 6.1. */
const X25519 = [
  {
    name: "5.2, first",
    scalar: "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
    point: "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
    shared: "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
  },
  {
    name: "5.2, second",
    scalar: "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
    point: "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
    shared: "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
  },
  {
    name: "6.1, Alice with Bob",
    scalar: "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
    point: "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
    shared: "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
  },
  {
    name: "6.1, Bob with Alice",
    scalar: "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
    point: "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
    shared: "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
  },
];

const privateFile = (key: KeyObject): string => fileOf(key.export({ format: "der", type: "pkcs8" }));
const publicFile = (key: KeyObject): string => fileOf(key.export({ format: "der", type: "spki" }));

function opensslDerive(scalar: Uint8Array, point: Uint8Array): Buffer {
  const own = privateFile(privateKeyOf("x25519", scalar));
  const peer = publicFile(publicKeyOf("x25519", point));
  return openssl(["pkeyutl", "-derive", "-keyform", "DER", "-inkey", own, "-peerform", "DER", "-peerkey", peer]);
}

describe("X25519", () => {
  it.each(X25519)("gives what RFC 7748 $name says", ({ scalar, point, shared }) => {
    expect(x25519(privateKeyOf("x25519", hex(scalar)), hex(point)).toString("hex")).toBe(shared);
  });

  it.each(X25519)("does as openssl in $name", ({ scalar, point, shared }) => {
    expect(opensslDerive(hex(scalar), hex(point)).toString("hex")).toBe(shared);
  });

  it("derives the public keys of section 6.1", () => {
    const [, , alice, bob] = X25519;
    if (!alice || !bob) throw new Error("no vector");
    expect(rawPublicKey(privateKeyOf("x25519", hex(alice.scalar))).toString("hex")).toBe(bob.point);
    expect(rawPublicKey(privateKeyOf("x25519", hex(bob.scalar))).toString("hex")).toBe(alice.point);
  });

  it("refuses every point of low order, in whatever spelling", () => {
    const low = [
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000000",
      "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
      "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "0000000000000000000000000000000000000000000000000000000000000080",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ];
    const { privateKey } = generateBoxKeys();
    for (const point of low) expect(() => x25519(privateKey, hex(point)), point).toThrow(/low order/);
    expect(() => sealBox(hex(low[2] ?? ""), Buffer.from("x"), Buffer.alloc(0))).toThrow(/low order/);
  });
});

/** RFC 8032, section 7.1: tests 1 to 3. */
const ED25519 = [
  {
    name: "TEST 1",
    seed: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    publicKey: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    message: "",
    signature:
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  },
  {
    name: "TEST 2",
    seed: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    publicKey: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    message: "72",
    signature:
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
  },
  {
    name: "TEST 3",
    seed: "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    publicKey: "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    message: "af82",
    signature:
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
  },
];

describe("Ed25519 by nkeys", () => {
  it.each(ED25519)("signs and verifies $name of RFC 8032", ({ seed, publicKey, message, signature }) => {
    const signer = signerOf("u", seedOf(hex(seed)));
    expect(signer.publicKey).toBe(encodeUserKey(hex(publicKey)));
    expect(Buffer.from(signer.sign(hex(message))).toString("hex")).toBe(signature);
    expect(verifySignature(signer.publicKey, hex(message), hex(signature))).toBe(true);
    expect(verifySignature(signer.publicKey, hex(`${message}00`), hex(signature))).toBe(false);
  });

  it.each(ED25519.slice(1))("signs as openssl does in $name", ({ seed, message, signature }) => {
    const key = privateFile(privateKeyOf("ed25519", hex(seed)));
    const args = ["pkeyutl", "-sign", "-rawin", "-keyform", "DER", "-inkey", key, "-in", fileOf(hex(message))];
    expect(openssl(args).toString("hex")).toBe(signature);
  });
});

describe("a sealed box", () => {
  it("is opened by openssl with the recipient's key", () => {
    const scalar = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    const publicKey = rawPublicKey(privateKeyOf("x25519", scalar));
    const context = Buffer.from("where it belongs");
    const box = Buffer.from(sealBox(publicKey, Buffer.from("a secret for you"), context));
    const ephemeral = box.subarray(0, 32);
    const shared = opensslDerive(scalar, ephemeral);
    const info = Buffer.concat([Buffer.from("vgas.vault.box.v1\0"), context]);
    const derived = opensslHkdf(shared, Buffer.concat([ephemeral, publicKey]), info, 44);
    const sealed = opensslGcm(
      derived.subarray(0, 32),
      derived.subarray(32),
      Buffer.from("a secret for you"),
      Buffer.alloc(0),
    );
    expect(sealed.toString("hex")).toBe(box.subarray(32).toString("hex"));
  });

  it("opens one that openssl has made", () => {
    const recipient = generateBoxKeys();
    const pem = openssl(["genpkey", "-algorithm", "X25519"]);
    const sender = createPrivateKey(pem);
    const ephemeral = rawPublicKey(sender);
    const shared = opensslDerive(sender.export({ format: "der", type: "pkcs8" }).subarray(-32), recipient.publicKey);
    const info = Buffer.from("vgas.vault.box.v1\0");
    const derived = opensslHkdf(shared, Buffer.concat([ephemeral, recipient.publicKey]), info, 44);
    const sealed = opensslGcm(derived.subarray(0, 32), derived.subarray(32), Buffer.from("hello"), Buffer.alloc(0));
    const opened = openBox(recipient, Buffer.concat([ephemeral, sealed]), Buffer.alloc(0));
    expect(opened.toString()).toBe("hello");
  });
});
