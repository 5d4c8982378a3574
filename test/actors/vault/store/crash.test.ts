import { cp, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { VaultStore } from "../../../../src/actors/vault/store/vault-store.ts";
import { temporaryDirectory } from "../../../support/home.ts";
import { ended, startFixture } from "./children.ts";
import { KEY, keyOf, makeVault, NEXT_PASSPHRASE, openStore, PASSPHRASE, secret } from "./support.ts";

/** Processes at a time. */
const LANES = 3;

/** Makes `change` in copies of `original` (or where nothing is), killed at its first call, its second, and so on to its end. */
async function killEverywhere(
  change: string,
  original: string | undefined,
  check: (dir: string) => Promise<string>,
): Promise<{ readonly kills: number; readonly states: ReadonlySet<string> }> {
  const parent = await temporaryDirectory();
  const states = new Set<string>();
  let next = 1;
  let torn = 0;
  let completedAt = Number.POSITIVE_INFINITY;
  const lane = async (): Promise<void> => {
    while (next < completedAt) {
      const killAt = next++;
      const dir = join(parent, String(killAt), "vault");
      if (original !== undefined) await cp(original, dir, { recursive: true, preserveTimestamps: true });
      const { signal, code, said } = await ended(startFixture("killed-writer", dir, change, String(killAt)));
      if (signal === null) {
        expect({ code, calls: Number(said) < killAt }).toEqual({ code: 0, calls: true });
        completedAt = Math.min(completedAt, killAt);
      } else expect(signal).toBe("SIGKILL");
      const left = await temporaries(dir);
      torn += left.length;
      states.add(await check(dir));
      expect(await temporaries(dir)).toEqual([]);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  // Some were killed in the midst of writing a file: at least before, during and after it was written.
  expect(torn).toBeGreaterThan(2);
  return { kills: completedAt - 1, states };
}

async function temporaries(dir: string): Promise<readonly string[]> {
  const names = await readdir(dir).catch(() => []);
  return names.filter((name) => name.endsWith(".tmp"));
}

/** Opens what a killed process left, and makes sure that it can be written again. */
async function reopen(dir: string, passphrase = PASSPHRASE): Promise<VaultStore> {
  const store = await openStore(dir);
  await store.unseal(secret(passphrase));
  await store.add("openai", "afterwards", secret("a later key"), {});
  return store;
}

describe("a vault whose writer was killed at every call of the file system", () => {
  it("is not there or whole after init", async () => {
    const { kills, states } = await killEverywhere("init", undefined, async (dir) => {
      const store = await openStore(dir);
      const { state } = store;
      if (state === "absent") await store.init(secret(PASSPHRASE));
      else await reopen(dir);
      return state;
    });
    expect(kills).toBeGreaterThan(10);
    expect([...states].sort()).toEqual(["absent", "sealed"]);
  });

  it("holds the keys of before or of after a store", async () => {
    const { dir } = await makeVault(await temporaryDirectory());
    const { kills, states } = await killEverywhere("store", dir, async (copy) => {
      const store = await reopen(copy);
      expect(keyOf(store)).toBe(KEY);
      if (store.find("anthropic", "main") === undefined) return "before";
      expect(keyOf(store, "anthropic")).toBe("another key");
      return "after";
    });
    expect(kills).toBeGreaterThan(10);
    expect([...states].sort()).toEqual(["after", "before"]);
  });

  it("has the term of before or of after a rotation", async () => {
    const { dir } = await makeVault(await temporaryDirectory());
    const { kills, states } = await killEverywhere("rotate", dir, async (copy) => {
      const store = await reopen(copy);
      expect(keyOf(store)).toBe(KEY);
      expect(store.find("openai", "main")?.term).toBe(store.term);
      return `term ${store.term}`;
    });
    expect(kills).toBeGreaterThan(10);
    expect([...states].sort()).toEqual(["term 1", "term 2"]);
  });

  it("opens with exactly one of the passphrases of before and after a rekey, and nothing beside it with the old one alone", async () => {
    const { dir } = await makeVault(await temporaryDirectory());
    const { kills, states } = await killEverywhere("rekey", dir, async (copy) => {
      const opening: string[] = [];
      for (const passphrase of [PASSPHRASE, NEXT_PASSPHRASE]) {
        const store = await openStore(copy);
        const opened = await store.unseal(secret(passphrase)).then(
          () => true,
          (error: unknown) => {
            expect(error).toMatchObject({ code: "WRONG_PASSPHRASE" });
            return false;
          },
        );
        if (!opened) continue;
        opening.push(passphrase);
        expect(keyOf(store)).toBe(KEY);
      }
      expect(opening).toHaveLength(1);
      if (opening[0] === NEXT_PASSPHRASE) {
        // The unsealing above has finished what the killed process had not: no copy is left that the old passphrase opens.
        const older = join(copy, "older");
        await mkdir(older, { mode: 0o700 });
        await cp(join(copy, "vault.prev.bin"), join(older, "vault.bin"));
        const previous = await openStore(older);
        await expect(previous.unseal(secret(PASSPHRASE))).rejects.toMatchObject({ code: "WRONG_PASSPHRASE" });
      }
      await reopen(copy, opening[0]);
      return opening[0] ?? "";
    });
    expect(kills).toBeGreaterThan(10);
    expect([...states].sort()).toEqual([NEXT_PASSPHRASE, PASSPHRASE].sort());
  });
});
