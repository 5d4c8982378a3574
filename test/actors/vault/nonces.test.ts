import { describe, expect, test } from "vitest";
import { Nonces } from "../../../src/actors/vault/nonces.ts";
import { NONCE_BYTES, REQUEST_WINDOW_MS } from "../../../src/protocols/vault/messages.ts";

const NOW = 1_700_000_000_000;

/** A nonce of its own for each number. */
function nonce(n: number): Uint8Array {
  const bytes = Buffer.alloc(NONCE_BYTES);
  bytes.writeUInt32LE(n);
  return bytes;
}

describe("Nonces", () => {
  test("takes a nonce once, from each user", () => {
    const nonces = new Nonces();
    nonces.take("a", nonce(1), { at: NOW, now: NOW });
    nonces.take("b", nonce(1), { at: NOW, now: NOW });
    for (const at of [NOW, NOW + 5_000])
      expect(() => nonces.take("a", nonce(1), { at, now: NOW })).toThrow(expect.objectContaining({ code: "REPLAYED" }));
  });

  test.each([-REQUEST_WINDOW_MS, -1.5, 0, 1, REQUEST_WINDOW_MS])(
    "remembers one that is %d ms ahead as long as its request is young enough, to the last moment",
    (aheadMs) => {
      const nonces = new Nonces();
      const at = NOW + aheadMs;
      nonces.take("a", nonce(1), { at, now: NOW });
      const last = at + REQUEST_WINDOW_MS;
      expect(() => nonces.take("a", nonce(1), { at, now: last })).toThrow(
        expect.objectContaining({ code: "REPLAYED" }),
      );
    },
  );

  test("one user can use up his own room, and nobody else's, and has it again when his requests are too old", () => {
    const nonces = new Nonces();
    let taken = 0;
    const fill = (now: number): void => {
      for (;;) nonces.take("a", nonce(taken++), { at: now - REQUEST_WINDOW_MS / 2, now });
    };
    expect(() => fill(NOW)).toThrow(expect.objectContaining({ code: "MAILBOX_FULL" }));
    expect(taken).toBe(100_001);
    nonces.take("b", nonce(1), { at: NOW, now: NOW });
    expect(() => fill(NOW + REQUEST_WINDOW_MS / 2 + 1_000)).toThrow(expect.objectContaining({ code: "MAILBOX_FULL" }));
    expect(taken).toBeGreaterThan(200_000);
  });

  test("what is remembered longest does not hold what was taken after it", () => {
    const nonces = new Nonces();
    nonces.take("a", nonce(0), { at: NOW + REQUEST_WINDOW_MS, now: NOW });
    for (let n = 1; n < 100_000; n++) nonces.take("a", nonce(n), { at: NOW - REQUEST_WINDOW_MS, now: NOW });
    const refused = expect.objectContaining({ code: "MAILBOX_FULL" });
    expect(() => nonces.take("a", nonce(100_001), { at: NOW, now: NOW })).toThrow(refused);
    nonces.take("a", nonce(100_002), { at: NOW, now: NOW + 1_000 });
    expect(() => nonces.take("a", nonce(0), { at: NOW + REQUEST_WINDOW_MS, now: NOW + 1_000 })).toThrow(
      expect.objectContaining({ code: "REPLAYED" }),
    );
  });
});
