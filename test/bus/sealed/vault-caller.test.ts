import { createHash } from "node:crypto";
import { createUser } from "@nats-io/nkeys";
import { describe, expect, it } from "vitest";
import { decode } from "../../../src/bus/codec/codec.ts";
import { signHello } from "../../../src/bus/sealed/hello-signature.ts";
import { type BoxKeys, generateBoxKeys, openBox, secretContext } from "../../../src/bus/sealed/sealed-box.ts";
import { Secret } from "../../../src/bus/sealed/secret.ts";
import { signerOf, verifySignature } from "../../../src/bus/sealed/signing.ts";
import { type Ask, VaultCaller } from "../../../src/bus/sealed/vault-caller.ts";
import { VgasError } from "../../../src/protocols/errors.ts";
import {
  type Hello,
  helloMessage,
  operationMessage,
  REQUEST_DOMAIN,
  type Request,
  request,
} from "../../../src/protocols/vault/messages.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const seed = createUser().getSeed();
const signer = signerOf("nodeone", seed);
const node = signerOf("system", createUser().getSeed());

/** A vault as far as a caller sees it: checks every request, and answers what the test says. */
class FakeVault {
  boot = "life-1";
  /** Its own clock, ms ahead of the caller's. */
  ahead = 5_000_000;
  keys: BoxKeys = generateBoxKeys();
  readonly challenges: (Uint8Array | undefined)[] = [];
  /** What becomes of its `hello` on the way. */
  forge: (hello: Hello, challenge: Uint8Array) => object = (hello) => hello;
  readonly requests: Request[] = [];
  readonly bodies: Uint8Array[] = [];
  readonly timeouts: number[] = [];
  answer: (asked: Request) => unknown = () => ({});
  readonly #clock: ManualClock;

  get hellos(): number {
    return this.challenges.length;
  }

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  readonly ask: Ask = async (message, { timeoutMs, signal }) => {
    signal?.throwIfAborted();
    this.timeouts.push(timeoutMs);
    const now = this.#clock.monotonic() + this.ahead;
    if (message.type === "hello") {
      const { type: _, ...greeting } = message;
      const { challenge } = helloMessage.parse(greeting);
      this.challenges.push(challenge);
      const hello: Hello = {
        ...{ v: 1, boot: this.boot, now, publicKey: this.keys.publicKey, state: "unsealed", host: "nodezero" },
      };
      if (challenge === undefined) return hello;
      return this.forge({ ...hello, signature: signHello(node, hello, challenge) }, challenge);
    }
    const { type, ...fields } = message;
    const { user, body, signature } = operationMessage.parse(fields);
    expect(type).toBe("operation");
    expect(user).toBe("nodeone");
    const signed = Buffer.concat([Buffer.from(REQUEST_DOMAIN), body]);
    expect(verifySignature(signer.publicKey, signed, signature)).toBe(true);
    const asked = request.parse(decode(body));
    this.requests.push(asked);
    this.bodies.push(body);
    if (asked.boot !== this.boot) throw new VgasError("VAULT_RESTARTED", "an earlier life");
    if (Math.abs(asked.at - now) > 30_000) throw new VgasError("REPLAYED", "too old");
    return this.answer(asked);
  };
}

function start(): { clock: ManualClock; vault: FakeVault; caller: VaultCaller } {
  const clock = new ManualClock();
  const vault = new FakeVault(clock);
  return { clock, vault, caller: new VaultCaller({ ask: vault.ask, signer, clock, vaultKey: node.publicKey }) };
}

const options = { timeoutMs: 1_000 };
const key = { provider: "openai", name: "main" };

describe("VaultCaller", () => {
  it("signs a request for the vault's life and clock, and says hello once", async () => {
    const { clock, vault, caller } = start();
    const first = await caller.call("seal", {}, options);
    await clock.advance(10_000);
    await caller.call("seal", {}, options);
    expect(vault.hellos).toBe(1);
    expect(vault.requests.map(({ at }) => at)).toEqual([5_000_000, 5_010_000]);
    const [one, two] = vault.requests;
    expect(one?.boot).toBe("life-1");
    expect(one?.op).toBe("seal");
    expect(Buffer.from(one?.nonce ?? "")).not.toEqual(Buffer.from(two?.nonce ?? ""));
    const digest = createHash("sha256")
      .update(vault.bodies[0] ?? "")
      .digest();
    expect(Buffer.from(first.digest)).toEqual(digest);
  });

  it("goes on with a vault that was started anew, sealing each secret for the life that gets it", async () => {
    const { vault, caller } = start();
    const secret = Secret.fromUtf8("passphrase");
    vault.answer = ({ args, nonce }) => {
      const { sealed } = args as { readonly sealed: Uint8Array };
      const opened = openBox(vault.keys, sealed, secretContext("unseal", vault.boot, nonce));
      return { vaultId: opened.toString(), generation: 1 };
    };
    const open = () => caller.call("unseal", (seal) => ({ sealed: seal(secret) }), options);
    expect((await open()).reply.vaultId).toBe("passphrase");
    vault.boot = "life-2";
    vault.keys = generateBoxKeys();
    expect((await open()).reply.vaultId).toBe("passphrase");
    expect(vault.requests.map(({ boot }) => boot)).toEqual(["life-1", "life-1", "life-2"]);
    expect(vault.hellos).toBe(2);
  });

  it("gives up when the vault restarts at every turn", async () => {
    const { vault, caller } = start();
    vault.answer = () => {
      throw new VgasError("VAULT_RESTARTED", "again");
    };
    await expect(caller.call("seal", {}, options)).rejects.toMatchObject({ code: "VAULT_RESTARTED" });
    expect(vault.requests).toHaveLength(2);
    vault.answer = () => ({});
    await caller.call("seal", {}, options);
  });

  it("asks for the time anew when one of the clocks has jumped", async () => {
    const { clock, vault, caller } = start();
    await caller.call("seal", {}, options);
    // The vault's: seen by its refusal only.
    vault.ahead += 3_600_000;
    await caller.call("seal", {}, options);
    expect(vault.hellos).toBe(2);
    expect(vault.requests).toHaveLength(3);
    // Ours, which did not count while the machine slept: seen before anything is sent.
    vault.ahead += 3_600_000;
    clock.wallOffset += 3_600_000;
    await caller.call("seal", {}, options);
    expect(vault.hellos).toBe(3);
    expect(vault.requests).toHaveLength(4);
  });

  it("does not repeat a request that the vault has seen", async () => {
    const { vault, caller } = start();
    vault.answer = () => {
      throw new VgasError("REPLAYED", "seen before");
    };
    await expect(caller.call("seal", {}, options)).rejects.toMatchObject({ code: "REPLAYED" });
    expect(vault.requests).toHaveLength(1);
  });

  it("says hello again after a minute, and always when it is asked to", async () => {
    const { clock, vault, caller } = start();
    await caller.call("seal", {}, options);
    await clock.advance(60_001);
    await caller.call("seal", {}, options);
    expect(vault.hellos).toBe(2);
    expect((await caller.hello(options)).state).toBe("unsealed");
    expect(vault.hellos).toBe(3);
  });

  it("passes refusals on, and the time that is left", async () => {
    const { clock, vault, caller } = start();
    vault.answer = () => {
      throw new VgasError("CONFLICT", "there already");
    };
    const store = { ...key, settings: {} };
    await expect(caller.call("store", store, options)).rejects.toMatchObject({ code: "CONFLICT" });
    expect(vault.timeouts).toEqual([1_000, 1_000]);
    vault.answer = () => {
      clock.jump(400);
      vault.boot = "life-2";
      throw new VgasError("VAULT_RESTARTED", "moved");
    };
    await expect(caller.call("store", store, options)).rejects.toMatchObject({ code: "VAULT_RESTARTED" });
    expect(vault.timeouts.slice(2)).toEqual([1_000, 600, 600]);
    vault.answer = () => {
      clock.jump(1_000);
      throw new VgasError("VAULT_RESTARTED", "slow");
    };
    await expect(caller.call("store", store, options)).rejects.toThrow("vault.store timed out after 1000 ms");
  });

  it("takes nothing for an answer that is none", async () => {
    const { vault, caller } = start();
    vault.answer = () => ({ keys: "many" });
    await expect(caller.call("list", {}, options)).rejects.toMatchObject({ code: "INTERNAL" });
    const other = new VaultCaller({ ask: async () => ({ hello: "world" }), signer, clock: new ManualClock() });
    await expect(other.hello(options)).rejects.toMatchObject({ code: "INTERNAL" });
  });

  it("gives a challenge with each hello, and never the same", async () => {
    const { vault, caller } = start();
    await caller.hello(options);
    await caller.hello(options);
    const [one, two] = vault.challenges;
    expect(one).toHaveLength(32);
    expect(two).toHaveLength(32);
    expect(Buffer.from(one ?? "")).not.toEqual(Buffer.from(two ?? ""));
  });

  const evil = generateBoxKeys();
  const liar = signerOf("system", createUser().getSeed());
  it.each<[string, FakeVault["forge"]]>([
    ["without a signature", ({ signature: _, ...hello }) => ({ ...hello, publicKey: evil.publicKey })],
    ["with another box key", (hello) => ({ ...hello, publicKey: evil.publicKey })],
    ["of another life", (hello) => ({ ...hello, boot: "life-0" })],
    ["of another time", (hello) => ({ ...hello, now: hello.now - 1 })],
    [
      "signed by another user",
      (hello, challenge) => {
        const forged = { ...hello, publicKey: evil.publicKey };
        return { ...forged, signature: signHello(liar, forged, challenge) };
      },
    ],
    ["signed for another challenge", (hello) => ({ ...hello, signature: signHello(node, hello, Buffer.alloc(32, 7)) })],
  ])("seals nothing for an answer %s, and asks it nothing", async (_, forge) => {
    const { vault, caller } = start();
    vault.forge = forge;
    let sealed = 0;
    const store = caller.call(
      "unseal",
      (seal) => {
        sealed++;
        return { sealed: seal(Secret.fromUtf8("passphrase")) };
      },
      options,
    );
    await expect(store).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      message: expect.stringContaining(node.publicKey),
    });
    await expect(caller.hello(options)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect([sealed, vault.requests.length, vault.hellos]).toEqual([0, 0, 2]);
    vault.forge = (hello) => hello;
    await caller.call("seal", {}, options);
  });

  it("checks the life that it goes on with as it did the first", async () => {
    const { vault, caller } = start();
    await caller.call("seal", {}, options);
    vault.boot = "life-2";
    vault.forge = (hello) => ({ ...hello, publicKey: evil.publicKey });
    await expect(caller.call("seal", {}, options)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect(vault.requests.map(({ boot }) => boot)).toEqual(["life-1", "life-1"]);
  });

  it("does all but sealing where it does not know the vault's key", async () => {
    const { clock, vault } = start();
    const caller = new VaultCaller({ ask: vault.ask, signer, clock });
    await caller.call("seal", {}, options);
    const secret = Secret.fromUtf8("passphrase");
    const unseal = caller.call("unseal", (seal) => ({ sealed: seal(secret) }), options);
    await expect(unseal).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("make the connection file anew: `vgas connection --role admin`"),
    });
    expect(vault.requests.map(({ op }) => op)).toEqual(["seal"]);
    expect(vault.challenges).toEqual([undefined]);
  });

  it("ends with its signal", async () => {
    const { caller } = start();
    const signal = AbortSignal.abort(new VgasError("ABORTED", "enough"));
    await expect(caller.call("seal", {}, { ...options, signal })).rejects.toMatchObject({ code: "ABORTED" });
  });
});
