import * as crypto from "node:crypto";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { scryptKdf } from "../../../../src/actors/vault/store/kdf.ts";
import { temporaryDirectory } from "../../../support/home.ts";
import {
  KEY,
  keyOf,
  makeVault,
  NEXT_KEY,
  NEXT_PASSPHRASE,
  NOW,
  openStore,
  PASSPHRASE,
  quickKdf,
  secret,
} from "./support.ts";

const failsWith = (code: string) => expect.objectContaining({ code });

describe("the life of a vault", () => {
  it("goes from absent to open, sealed, and open again, with the real scrypt", async () => {
    const dir = join(await temporaryDirectory(), "vault");
    const store = await openStore(dir, { kdf: scryptKdf });
    expect(store).toMatchObject({ state: "absent", vaultId: undefined, generation: undefined, digest: undefined });
    await expect(readdir(dir)).rejects.toThrow("ENOENT");
    const passphrase = secret(PASSPHRASE);
    await store.init(passphrase);
    expect(store).toMatchObject({ state: "open", generation: 1, term: 1 });
    await store.add("openai", "main", secret(KEY), {});
    expect(keyOf(store)).toBe(KEY);
    const { vaultId, digest } = store;
    store.seal();
    expect(store.state).toBe("sealed");
    const later = await openStore(dir, { kdf: scryptKdf });
    expect(later).toMatchObject({ state: "sealed", vaultId, digest, generation: 2 });
    expect(vaultId).toMatch(/^[\w-]{22}$/);
    expect(digest).toBe(
      crypto
        .createHash("sha256")
        .update(await readFile(join(dir, "vault.bin")))
        .digest("hex"),
    );
    await expect(later.unseal(secret("correct horse battery stable"))).rejects.toThrowError(
      failsWith("WRONG_PASSPHRASE"),
    );
    expect(later.state).toBe("sealed");
    await later.unseal(passphrase);
    expect(keyOf(later)).toBe(KEY);
    expect(passphrase.wiped).toBe(false);
  });

  it("says that there is no vault, or that it is sealed, to whatever needs an open one", async () => {
    const { store, dir } = await makeVault(await temporaryDirectory());
    store.seal();
    store.seal();
    const absent = await openStore(join(dir, "elsewhere"));
    for (const [sealed, code] of [[store, "VAULT_SEALED"] as const, [absent, "VAULT_UNINITIALISED"] as const]) {
      for (const ask of [
        () => sealed.records(),
        () => sealed.find("openai", "main"),
        () => sealed.term,
        () => sealed.derive("x"),
        () => keyOf(sealed),
      ]) {
        expect(ask).toThrowError(failsWith(code));
      }
      for (const write of [
        sealed.add("openai", "other", secret(KEY), {}),
        sealed.newVersion("openai", "main", secret(KEY)),
        sealed.changeSettings("openai", "main", {}),
        sealed.remove("openai", "main"),
        sealed.rotateTerm(),
        sealed.rekey(secret(PASSPHRASE), secret(NEXT_PASSPHRASE)),
      ]) {
        await expect(write).rejects.toThrowError(failsWith(code));
      }
    }
    await expect(absent.unseal(secret(PASSPHRASE))).rejects.toThrowError(failsWith("VAULT_UNINITIALISED"));
  });

  it("is made once", async () => {
    const { store, dir } = await makeVault(await temporaryDirectory());
    await expect(store.init(secret(NEXT_PASSPHRASE))).rejects.toThrowError(failsWith("CONFLICT"));
    const early = [await openStore(join(dir, "new")), await openStore(join(dir, "new"))];
    const made = await Promise.allSettled(early.map((one) => one.init(secret(PASSPHRASE))));
    expect(made.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(made.find(({ status }) => status === "rejected")).toMatchObject({ reason: { code: "CONFLICT" } });
    expect(early.map(({ state }) => state).sort()).toEqual(["open", "sealed"]);
    await expect((await openStore(join(dir, "x"))).init(secret("short"))).rejects.toThrowError(failsWith("INVALID"));
  });

  it("stays sealed if it is sealed while it is being opened or made", async () => {
    const { store, dir } = await makeVault(await temporaryDirectory());
    store.seal();
    const unsealing = store.unseal(secret(PASSPHRASE));
    store.seal();
    await expect(unsealing).rejects.toThrowError(failsWith("VAULT_SEALED"));
    expect(store.state).toBe("sealed");
    const fresh = await openStore(join(dir, "new"));
    const making = fresh.init(secret(PASSPHRASE));
    fresh.seal();
    await expect(making).rejects.toThrowError(failsWith("VAULT_SEALED"));
    expect(fresh.state).toBe("sealed");
    await fresh.unseal(secret(PASSPHRASE));
  });

  it("ends a write that is under way when it is sealed, with the file old or new", async () => {
    const { store } = await makeVault(await temporaryDirectory());
    const writes = [store.rotateTerm(), store.add("openai", "second", secret(NEXT_KEY), {})];
    store.seal();
    for (const write of await Promise.allSettled(writes)) {
      if (write.status === "rejected") expect(write.reason).toMatchObject({ code: "VAULT_SEALED" });
    }
    expect(store.state).toBe("sealed");
    await store.unseal(secret(PASSPHRASE));
    expect(keyOf(store)).toBe(KEY);
  });

  it("wipes every key that it made once it is sealed", async () => {
    const given: Buffer[] = [];
    const randomBytes = (size: number): Buffer => {
      const bytes = crypto.randomBytes(size);
      if (size === 32) given.push(bytes);
      return bytes;
    };
    const left = (): Buffer[] => given.filter((bytes) => bytes.some((byte) => byte !== 0));
    const store = await openStore(join(await temporaryDirectory(), "vault"), { randomBytes });
    await store.init(secret(PASSPHRASE));
    await store.add("openai", "main", secret(KEY), {});
    // Salt, term, vault secret, data key.
    expect(given).toHaveLength(4);
    expect(left()).toEqual(given.slice(0, 3));
    store.seal();
    expect(left()).toEqual([given[0]]);
    await store.unseal(secret(PASSPHRASE));
    await store.rotateTerm();
    await store.rekey(secret(PASSPHRASE), secret(NEXT_PASSPHRASE));
    // Another term, data key and salt: the keyring of the new root has copies.
    expect(given).toHaveLength(7);
    expect(left()).toEqual([given[0], given[6]]);
  });
});

describe("the keys in a vault", () => {
  it("are told without what is secret, with the settings of their provider", async () => {
    const { store } = await makeVault(await temporaryDirectory());
    await store.add("acme", "spare", secret("short"), { lease: false, kinds: ["chat"] });
    const [acme, openai] = store.records();
    expect(openai).toEqual({
      ...{ provider: "openai", name: "main", version: 1, term: 1, createdAt: NOW, changedAt: NOW },
      ...{ last4: KEY.slice(-4), fingerprint: expect.stringMatching(/^[\w-]{16}$/) },
      settings: {
        ...{ header: "authorization", scheme: "Bearer ", origins: ["https://api.openai.com"] },
        ...{ allowPrivate: false, lease: true, budgets: [] },
      },
    });
    expect(acme).toMatchObject({ provider: "acme", settings: { origins: [], lease: false, kinds: ["chat"] } });
    expect(acme).not.toHaveProperty("last4");
    expect(store.find("openai", "main")).toEqual(openai);
    expect(store.find("openai", "other")).toBeUndefined();
    expect(JSON.stringify(store.records())).not.toContain(KEY);
  });

  it("get versions, settings and an end", async () => {
    const { store, dir } = await makeVault(await temporaryDirectory());
    expect(await store.newVersion("openai", "main", secret(NEXT_KEY))).toMatchObject({ version: 2, term: 1 });
    const changed = await store.changeSettings("openai", "main", { origins: ["https://proxy.test"], pools: ["a"] });
    expect(changed).toMatchObject({ version: 2, settings: { origins: ["https://proxy.test"], pools: ["a"] } });
    const back = await store.changeSettings("openai", "main", { origins: null });
    expect(back.settings).toMatchObject({ origins: ["https://api.openai.com"], pools: ["a"] });
    expect(keyOf(store)).toBe(NEXT_KEY);
    const again = await openStore(dir);
    await again.unseal(secret(PASSPHRASE));
    expect(again.records()).toEqual(store.records());
    expect(keyOf(again)).toBe(NEXT_KEY);
    expect(await store.remove("openai", "main")).toMatchObject({ name: "main", version: 2 });
    expect(store.records()).toEqual([]);
    expect(() => keyOf(store)).toThrowError(failsWith("NOT_FOUND"));
    expect(store.generation).toBe(6);
  });

  it("are refused with the reason, and nothing is written", async () => {
    const { store, dir } = await makeVault(await temporaryDirectory());
    const before = await readFile(join(dir, "vault.bin"));
    const refusals: readonly (readonly [Promise<unknown>, string])[] = [
      [store.add("openai", "main", secret(KEY), {}), "CONFLICT"],
      [store.add("no token", "main", secret(KEY), {}), "INVALID"],
      [store.add("openai", "../main", secret(KEY), {}), "INVALID"],
      [store.add("openai", "other", secret("a\nb"), {}), "INVALID"],
      [store.add("openai", "other", secret(KEY), { origins: ["http://api.test"] }), "INVALID"],
      [store.add("openai", "other", secret(KEY), { origins: ["https://api.test/path"] }), "INVALID"],
      [store.add("openai", "other", secret(KEY), { header: "Content-Type\r\n" }), "INVALID"],
      [store.changeSettings("openai", "main", { origins: ["http://127.0.0.1:1"] }), "INVALID"],
      [store.newVersion("openai", "main", secret("")), "INVALID"],
      [store.newVersion("openai", "other", secret(KEY)), "NOT_FOUND"],
      [store.changeSettings("openai", "other", {}), "NOT_FOUND"],
      [store.remove("anthropic", "main"), "NOT_FOUND"],
      [store.rekey(secret(NEXT_PASSPHRASE), secret(PASSPHRASE)), "WRONG_PASSPHRASE"],
      [store.rekey(secret(PASSPHRASE), secret("short")), "INVALID"],
    ];
    for (const [write, code] of refusals) await expect(write).rejects.toThrowError(failsWith(code));
    expect(await readFile(join(dir, "vault.bin"))).toEqual(before);
    expect(store).toMatchObject({ state: "open", generation: 2 });
    const local = { origins: ["http://127.0.0.1:1"], allowPrivate: true };
    expect((await store.changeSettings("openai", "main", local)).settings).toMatchObject(local);
  });

  it("are sealed anew under each term, and open under no other", async () => {
    const { store, dir } = await makeVault(await temporaryDirectory());
    expect(await store.rotateTerm()).toBe(2);
    expect(await store.rotateTerm()).toBe(3);
    expect(store).toMatchObject({ term: 3, generation: 4 });
    await store.add("openai", "later", secret(NEXT_KEY), {});
    expect(store.records().map(({ term, version }) => [term, version])).toEqual([
      [3, 1],
      [3, 1],
    ]);
    const again = await openStore(dir);
    await again.unseal(secret(PASSPHRASE));
    expect([keyOf(again), keyOf(again, "openai", "later")]).toEqual([KEY, NEXT_KEY]);
  });

  it("go on being used while the passphrase is changed, and open with the new one alone", async () => {
    const { store, dir } = await makeVault(await temporaryDirectory());
    const derived = store.derive("trail").use((bytes) => bytes.toString("hex"));
    const rekeying = store.rekey(secret(PASSPHRASE), secret(NEXT_PASSPHRASE));
    expect(keyOf(store)).toBe(KEY);
    await rekeying;
    expect(keyOf(store)).toBe(KEY);
    expect(store.derive("trail").use((bytes) => bytes.toString("hex"))).toBe(derived);
    await store.add("openai", "later", secret(NEXT_KEY), {});
    const again = await openStore(dir);
    await expect(again.unseal(secret(PASSPHRASE))).rejects.toThrowError(failsWith("WRONG_PASSPHRASE"));
    await again.unseal(secret(NEXT_PASSPHRASE));
    expect([keyOf(again), keyOf(again, "openai", "later")]).toEqual([KEY, NEXT_KEY]);
  });

  it("are what a map of them would be, after any changes", async () => {
    const names = fc.constantFrom("a", "b", "c");
    const step = fc.oneof(
      fc.record({ op: fc.constant("add" as const), name: names, key: fc.uuid() }),
      fc.record({ op: fc.constant("version" as const), name: names, key: fc.uuid() }),
      fc.record({
        op: fc.constantFrom("remove" as const, "term" as const, "rekey" as const, "reopen" as const),
        name: names,
      }),
    );
    const parent = await temporaryDirectory();
    let runs = 0;
    const property = fc.asyncProperty(fc.array(step, { maxLength: 8 }), async (steps) => {
      const dir = join(parent, String(runs++));
      let store = await openStore(dir);
      let passphrase = PASSPHRASE;
      await store.init(secret(passphrase));
      const model = new Map<string, string>();
      for (const { op, name, ...rest } of steps) {
        const key = "key" in rest ? rest.key : "";
        const wanted = { add: !model.has(name), version: model.has(name), remove: model.has(name) };
        if (op === "add" || op === "version" || op === "remove") {
          const write =
            op === "add"
              ? store.add("openai", name, secret(key), {})
              : op === "version"
                ? store.newVersion("openai", name, secret(key))
                : store.remove("openai", name);
          expect(
            await write.then(
              () => true,
              () => false,
            ),
          ).toBe(wanted[op]);
          if (wanted[op] && op === "remove") model.delete(name);
          else if (wanted[op]) model.set(name, key);
        } else if (op === "term") await store.rotateTerm();
        else if (op === "rekey") {
          const present = passphrase;
          passphrase += "+";
          await store.rekey(secret(present), secret(passphrase));
        } else {
          store = await openStore(dir);
          await store.unseal(secret(passphrase));
        }
        expect(new Map(store.records().map((record) => [record.name, keyOf(store, "openai", record.name)]))).toEqual(
          model,
        );
      }
    });
    await fc.assert(property, { numRuns: 15 });
  });
});

describe("what lies on the disk", () => {
  it("is private, and holds no key, no passphrase, no name and no setting in the clear", async () => {
    const parent = await temporaryDirectory();
    const { store, dir } = await makeVault(parent);
    await store.add("a-secret-provider", "main", secret(NEXT_KEY), { pools: ["secret-pool"] });
    await store.rekey(secret(PASSPHRASE), secret(NEXT_PASSPHRASE));
    const names = (await readdir(dir)).sort();
    expect(names).toEqual(["lock", "vault.bin", "vault.prev.bin"]);
    expect((await stat(dir)).mode & 0o777).toBe(0o700);
    for (const name of ["vault.bin", "vault.prev.bin"]) {
      expect((await stat(join(dir, name))).mode & 0o777).toBe(0o600);
      const bytes = await readFile(join(dir, name));
      for (const clear of [KEY, NEXT_KEY, PASSPHRASE, NEXT_PASSPHRASE, "secret", "openai", KEY.slice(-4), "Bearer"]) {
        expect(bytes.includes(clear)).toBe(false);
      }
    }
  });

  it("is damaged or another vault's, never half a secret, however it was cut off or changed", async () => {
    const { dir } = await makeVault(await temporaryDirectory());
    const path = join(dir, "vault.bin");
    const whole = await readFile(path);
    const outcomeOf = async (bytes: Uint8Array): Promise<string> => {
      await writeFile(path, bytes);
      try {
        const store = await openStore(dir);
        await store.unseal(secret(PASSPHRASE));
        return `opened: ${keyOf(store)}`;
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(await outcomeOf(whole)).toBe(`opened: ${KEY}`);
    for (let length = 0; length < whole.length; length++) {
      expect(await outcomeOf(whole.subarray(0, length))).toBe("VAULT_DAMAGED");
    }
    for (let at = 0; at < whole.length; at += 3) {
      const flipped = Buffer.from(whole);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at & 7));
      expect(await outcomeOf(flipped)).toBe("VAULT_DAMAGED");
      const body = flipped.subarray(0, -32);
      const mended = Buffer.concat([body, crypto.createHash("sha256").update(body).digest()]);
      if (at < whole.length - 32) expect(["VAULT_DAMAGED", "WRONG_PASSPHRASE"]).toContain(await outcomeOf(mended));
    }
  });

  it("is told apart with the real scrypt too", async () => {
    const dir = join(await temporaryDirectory(), "vault");
    const made = await openStore(dir, { kdf: scryptKdf });
    await made.init(secret(PASSPHRASE));
    const path = join(dir, "vault.bin");
    const whole = await readFile(path);
    const outcomeOf = async (change: (bytes: Buffer) => void): Promise<unknown> => {
      const bytes = Buffer.from(whole.subarray(0, -32));
      change(bytes);
      await writeFile(path, Buffer.concat([bytes, crypto.createHash("sha256").update(bytes).digest()]));
      const store = await openStore(dir, { kdf: scryptKdf });
      return await store.unseal(secret(PASSPHRASE)).then(
        () => store.state,
        (error: unknown) => error,
      );
    };
    expect(await outcomeOf(() => undefined)).toBe("open");
    expect(await outcomeOf((bytes) => bytes.writeUInt8(bytes.readUInt8(36) ^ 1, 36))).toMatchObject({
      code: "WRONG_PASSPHRASE",
    });
    // A lower cost within the bounds gives another root: it does not open with less work.
    expect(await outcomeOf((bytes) => bytes.writeUInt8(15, 33))).toMatchObject({ code: "WRONG_PASSPHRASE" });
    expect(await outcomeOf((bytes) => bytes.fill(0, 130, 134))).toMatchObject({
      code: "VAULT_DAMAGED",
      message: expect.stringContaining("tampered with"),
    });
    // The generation is bound too: an old file cannot pass for a new one.
    expect(await outcomeOf((bytes) => bytes.writeUInt8(9, 31))).toMatchObject({ code: "VAULT_DAMAGED" });
  });

  it("never makes the kdf work with parameters out of bounds", async () => {
    const { dir } = await makeVault(await temporaryDirectory());
    const path = join(dir, "vault.bin");
    const bytes = (await readFile(path)).subarray(0, -32);
    const store = await openStore(dir, {
      kdf: () => {
        throw new Error("the kdf was called");
      },
    });
    for (const [log2N, r, p] of [
      [1, 8, 1],
      [31, 8, 1],
      [20, 16, 4],
      [17, 255, 255],
    ] as const) {
      const forged = Buffer.from(bytes);
      forged.set([log2N, r, p], 33);
      await writeFile(path, Buffer.concat([forged, crypto.createHash("sha256").update(forged).digest()]));
      await expect(store.unseal(secret(PASSPHRASE))).rejects.toThrowError(failsWith("VAULT_DAMAGED"));
      await expect(openStore(dir, { kdf: quickKdf })).rejects.toThrowError(failsWith("VAULT_DAMAGED"));
    }
  });
});
