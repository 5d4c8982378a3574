/** The proof that a `hello` is of the vault: its node signs what a secret's safety hangs on, for the challenge of who asks. */
import { HELLO_DOMAIN, type Hello } from "../../protocols/vault/messages.ts";
import { encode } from "../codec/codec.ts";
import { type Signer, verifySignature } from "./signing.ts";

type Signed = Pick<Hello, "boot" | "now" | "publicKey">;

/** Signs `hello` for one challenge; `signer` is the vault's node. 64 bytes. */
export function signHello(signer: Signer, hello: Signed, challenge: Uint8Array): Uint8Array {
  return signer.sign(signedBytes(hello, challenge));
}

/** Whether the holder of `vaultKey` (`U…`) has signed `hello` for this challenge. Never throws. */
export function isHelloOf(vaultKey: string, hello: Hello, challenge: Uint8Array): boolean {
  return hello.signature !== undefined && verifySignature(vaultKey, signedBytes(hello, challenge), hello.signature);
}

/** The order of the keys is part of the protocol. */
function signedBytes({ boot, now, publicKey }: Signed, challenge: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(HELLO_DOMAIN), encode({ boot, now, publicKey, challenge })]);
}
