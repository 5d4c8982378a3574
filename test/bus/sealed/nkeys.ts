/** Nkeys made from known raw seeds, by the library of NATS itself: what our own reading of them is compared with. */
import { createRequire } from "node:module";

interface Codec {
  encodeSeed(role: number, raw: Uint8Array): Uint8Array;
}

const USER_ROLE = 20 << 3;
// Not among the library's exports: only its own tests need to make a key from raw bytes.
const { Codec } = createRequire(import.meta.url)("@nats-io/nkeys/lib/codec.js") as { readonly Codec: Codec };

/** `SU…` as bytes. */
export function seedOf(raw: Uint8Array): Uint8Array {
  return Codec.encodeSeed(USER_ROLE, raw);
}
