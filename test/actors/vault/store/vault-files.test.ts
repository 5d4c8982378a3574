import { execFileSync } from "node:child_process";
import { once } from "node:events";
import fs, { chmod, chown, cp, mkdir, readdir, readFile, rename, symlink, unlink, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { basename, join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { MAX_FILE_BYTES } from "../../../../src/actors/vault/store/container.ts";
import { temporaryDirectory } from "../../../support/home.ts";
import { ended, startFixture } from "./children.ts";
import { KEY, keyOf, makeVault, NEXT_KEY, NEXT_PASSPHRASE, openStore, PASSPHRASE, secret } from "./support.ts";

const failsWith = (code: string, says = /./) => expect.objectContaining({ code, message: expect.stringMatching(says) });

describe("what others could get at", () => {
  it("is refused with the command that mends it", async () => {
    const { dir } = await makeVault(await temporaryDirectory());
    const file = join(dir, "vault.bin");
    for (const mode of [0o640, 0o604, 0o620, 0o601]) {
      await chmod(file, mode);
      await expect(openStore(dir)).rejects.toThrowError(failsWith("CONFIG", /chmod 600 '.*vault\.bin'$/));
    }
    await chmod(file, 0o600);
    for (const mode of [0o750, 0o705, 0o711]) {
      await chmod(dir, mode);
      await expect(openStore(dir)).rejects.toThrowError(failsWith("CONFIG", /chmod 700 '.*vault'$/));
    }
    await chmod(dir, 0o700);
    expect((await openStore(dir)).state).toBe("sealed");
  });

  it("is refused by a vault that is open as well, which stays as it was", async () => {
    const { store, dir } = await makeVault(await temporaryDirectory());
    await chmod(join(dir, "vault.bin"), 0o644);
    await expect(store.add("openai", "other", secret(KEY), {})).rejects.toThrowError(failsWith("CONFIG", /chmod 600/));
    await chmod(join(dir, "vault.bin"), 0o600);
    expect(store).toMatchObject({ state: "open", generation: 2 });
    await store.add("openai", "other", secret(KEY), {});
  });

  it("is refused when it is a link, a folder or a pipe", async () => {
    const { dir } = await makeVault(await temporaryDirectory());
    const file = join(dir, "vault.bin");
    await rename(file, join(dir, "real.bin"));
    await symlink("real.bin", file);
    await expect(openStore(dir)).rejects.toThrowError(failsWith("CONFIG", /symbolic link/));
    await unlink(file);
    await mkdir(file, { mode: 0o700 });
    await expect(openStore(dir)).rejects.toThrowError(failsWith("CONFIG", /is not a file/));
    await fs.rmdir(file);
    execFileSync("sh", ["-c", `mkfifo -m 600 "$1"`, "sh", file]);
    await expect(openStore(dir)).rejects.toThrowError(failsWith("CONFIG", /is not a file/));
    const link = `${dir}-link`;
    await symlink(dir, link);
    await expect(openStore(link)).rejects.toThrowError(failsWith("CONFIG", /symbolic link/));
  });

  // Only root can give files away.
  it.runIf(process.getuid?.() === 0)("is refused when it is somebody else's", async () => {
    const { dir } = await makeVault(await temporaryDirectory());
    await chown(join(dir, "vault.bin"), 12_345, 12_345);
    await expect(openStore(dir)).rejects.toThrowError(failsWith("CONFIG", /belongs to another user/));
    await chown(join(dir, "vault.bin"), 0, 0);
    await chown(dir, 12_345, 12_345);
    await expect(openStore(dir)).rejects.toThrowError(failsWith("CONFIG", /belongs to another user/));
  });
});

describe("generations", () => {
  it("keep the one before, which opens when it is put in place", async () => {
    const { store, dir } = await makeVault(await temporaryDirectory());
    const second = await readFile(join(dir, "vault.bin"));
    await store.newVersion("openai", "main", secret(NEXT_KEY));
    expect(await readFile(join(dir, "vault.prev.bin"))).toEqual(second);
    await writeFile(join(dir, "vault.bin"), "rubbish");
    await expect(openStore(dir)).rejects.toThrowError(
      failsWith("VAULT_DAMAGED", /put a backup or vault\.prev\.bin in/),
    );
    await cp(join(dir, "vault.prev.bin"), join(dir, "vault.bin"));
    const again = await openStore(dir);
    await again.unseal(secret(PASSPHRASE));
    expect([keyOf(again), again.generation]).toEqual([KEY, 2]);
  });

  it("are never begun anew while the one before is there", async () => {
    const { dir } = await makeVault(await temporaryDirectory());
    await unlink(join(dir, "vault.bin"));
    await expect(openStore(dir)).rejects.toThrowError(failsWith("VAULT_DAMAGED", /is missing, but vault\.prev\.bin/));
  });

  it("are not written over an older, a foreign or a missing file", async () => {
    const { store, dir } = await makeVault(await temporaryDirectory());
    const file = join(dir, "vault.bin");
    const write = () => store.add("openai", "other", secret(KEY), {});
    const present = await readFile(file);
    await cp(join(dir, "vault.prev.bin"), file);
    await expect(write()).rejects.toThrowError(failsWith("VAULT_ROLLED_BACK", /generation 1 stands .* 2 was open/));
    expect(await readFile(file)).toEqual(await readFile(join(dir, "vault.prev.bin")));
    const foreign = await makeVault(await temporaryDirectory());
    await foreign.store.rotateTerm();
    await cp(join(foreign.dir, "vault.bin"), file);
    await expect(write()).rejects.toThrowError(failsWith("VAULT_ROLLED_BACK"));
    await unlink(file);
    await expect(write()).rejects.toThrowError(failsWith("VAULT_DAMAGED"));
    await writeFile(file, present, { mode: 0o600 });
    expect(keyOf(store)).toBe(KEY);
    await write();
    expect(store.generation).toBe(3);
  });

  it("are not read if there is more than a vault can have", async () => {
    const { dir } = await makeVault(await temporaryDirectory());
    await fs.truncate(join(dir, "vault.bin"), MAX_FILE_BYTES + 1);
    await expect(openStore(dir)).rejects.toThrowError(failsWith("VAULT_DAMAGED", /larger than any vault/));
  });
});

describe("several writers", () => {
  it("lose nothing: who comes second is told, knows what the first wrote, and can write then", async () => {
    const { store, dir } = await makeVault(await temporaryDirectory());
    const other = await openStore(dir);
    await other.unseal(secret(PASSPHRASE));
    await other.add("openai", "of-the-other", secret(NEXT_KEY), {});
    await expect(store.add("openai", "mine", secret(KEY), {})).rejects.toThrowError(failsWith("CONFLICT", /meanwhile/));
    expect(store.generation).toBe(3);
    expect(keyOf(store, "openai", "of-the-other")).toBe(NEXT_KEY);
    await store.add("openai", "mine", secret(KEY), {});
    expect(store.records().map(({ name }) => name)).toEqual(["main", "mine", "of-the-other"]);
  });

  it("are told when another has changed the passphrase", async () => {
    const { store, dir } = await makeVault(await temporaryDirectory());
    const other = await openStore(dir);
    await other.unseal(secret(PASSPHRASE));
    await other.rekey(secret(PASSPHRASE), secret(NEXT_PASSPHRASE));
    const write = () => store.add("openai", "mine", secret(KEY), {});
    await expect(write()).rejects.toThrowError(failsWith("CONFLICT", /changed the passphrase/));
    await expect(store.rekey(secret(PASSPHRASE), secret(PASSPHRASE))).rejects.toThrowError(failsWith("CONFLICT"));
    expect(keyOf(store)).toBe(KEY);
    store.seal();
    await store.unseal(secret(NEXT_PASSPHRASE));
    await write();
  });

  it("take turns within one store", async () => {
    const { store } = await makeVault(await temporaryDirectory());
    await Promise.all(
      Array.from({ length: 8 }, (_, place) => store.add("openai", `k${place}`, secret(`key ${place}`), {})),
    );
    expect(store.records()).toHaveLength(9);
    expect(store.generation).toBe(10);
  });

  it("in two processes at once store every key of both", async () => {
    const { dir } = await makeVault(await temporaryDirectory());
    const count = 12;
    const rivals = ["left", "right"].map((name) => startFixture("rival", dir, name, String(count)));
    await Promise.all(rivals.map(({ stdout }) => once(stdout ?? process.stdin, "data")));
    for (const { stdin } of rivals) stdin?.write("go\n");
    const ends = await Promise.all(rivals.map(ended));
    for (const { code } of ends) expect(code).toBe(0);
    // They did meet.
    expect(ends.reduce((sum, { said }) => sum + Number(said), 0)).toBeGreaterThan(0);
    const store = await openStore(dir);
    await store.unseal(secret(PASSPHRASE));
    expect(store.generation).toBe(2 + 2 * count);
    for (const name of ["left", "right"]) {
      for (let stored = 0; stored < count; stored++) {
        expect(keyOf(store, "openai", `${name}-${stored}`)).toBe(`key of ${name} ${stored}`);
      }
    }
  });
});

interface Disk {
  /** What was done, in order. */
  readonly log: readonly string[];
  readonly struck: () => boolean;
  readonly mend: () => void;
}

describe("the disk", () => {
  /** Lets the call number `failAt` of those that change something fail as on a full disk, until `mend`. */
  function breakDisk(failAt: number): Disk {
    let calls = 0;
    const log: string[] = [];
    const undo: (() => void)[] = [];
    const full = (): never => {
      throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
    };
    const names = ["link", "mkdir", "open", "rename", "unlink", "utimes"] as const;
    const functions = fs as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
    for (const name of names) {
      const original = functions[name];
      if (original === undefined) throw new Error(`no ${name}`);
      functions[name] = async (...args) => {
        const looks = name === "open" && typeof args[1] !== "number";
        const [path, target] = args.map((arg) => basename(String(arg)).replace(/\.\d+\.[0-9a-f]+\.tmp$/, ".tmp"));
        log.push(name === "rename" ? `${name} ${path} to ${target}` : `${name} ${path}`);
        if (!looks && ++calls === failAt) full();
        const result = await original(...args);
        if (name !== "open") return result;
        const handle = result as fs.FileHandle;
        const { writeFile: write, sync } = handle;
        handle.writeFile = async (...data) => {
          log.push(`write ${path}`);
          if (++calls === failAt) {
            await write.call(handle, "a part");
            full();
          }
          await write.apply(handle, data);
        };
        handle.sync = async () => {
          log.push(`sync ${path}`);
          if (++calls === failAt) full();
          await sync.call(handle);
        };
        return handle;
      };
      undo.push(() => {
        functions[name] = original;
      });
    }
    syncBuiltinESMExports();
    const mend = (): void => {
      for (const one of undo) one();
      syncBuiltinESMExports();
    };
    onTestFinished(mend);
    return { log, struck: () => calls >= failAt, mend };
  }

  it("may have the new file although the vault was sealed while that was written; the vault is sealed", async () => {
    const { store, dir } = await makeVault(await temporaryDirectory());
    const { rename: original } = fs;
    onTestFinished(() => {
      fs.rename = original;
      syncBuiltinESMExports();
    });
    fs.rename = async (...names) => {
      if (basename(String(names[1])) === "vault.bin") store.seal();
      await original(...names);
    };
    syncBuiltinESMExports();
    expect(await store.rotateTerm()).toBe(2);
    expect(store).toMatchObject({ state: "sealed", generation: 3 });
    expect(() => store.records()).toThrowError(failsWith("VAULT_SEALED"));
    expect((await openStore(dir)).digest).toBe(store.digest);
    await store.unseal(secret(PASSPHRASE));
    expect(store.term).toBe(2);
  });

  it("has each file before its name stands for it, and the one before in its place before that", async () => {
    const { store, dir } = await makeVault(await temporaryDirectory());
    const disk = breakDisk(Number.POSITIVE_INFINITY);
    await store.rotateTerm();
    disk.mend();
    const written = disk.log.filter(
      (line) => /vault/.test(line) && !/^(?:mkdir|open vault(?:\.bin|\.prev\.bin)?$)/.test(line),
    );
    const steps = (name: string): string[] => [
      ...[`open ${name}.tmp`, `write ${name}.tmp`, `sync ${name}.tmp`, `rename ${name}.tmp to ${name}`],
      `sync ${basename(dir)}`,
    ];
    expect(written).toEqual([...steps("vault.prev.bin"), ...steps("vault.bin")]);
  });

  it.each(["store", "rotate", "rekey"] as const)(
    "that fails at any call of a %s leaves memory and file as one, and both go on",
    async (change) => {
      const parent = await temporaryDirectory();
      const { dir: original } = await makeVault(parent);
      const outcomes = new Set<string>();
      let failAt = 0;
      for (let struck = true; struck; ) {
        const dir = join(parent, String(++failAt), "vault");
        await cp(original, dir, { recursive: true, preserveTimestamps: true });
        const store = await openStore(dir);
        await store.unseal(secret(PASSPHRASE));
        const disk = breakDisk(failAt);
        const write =
          change === "store"
            ? store.add("anthropic", "main", secret(NEXT_KEY), {})
            : change === "rotate"
              ? store.rotateTerm()
              : store.rekey(secret(PASSPHRASE), secret(NEXT_PASSPHRASE));
        const outcome = await write.then(
          () => "done",
          (error: { code: string }) => error.code,
        );
        disk.mend();
        struck = disk.struck();
        outcomes.add(outcome);
        expect(["done", "CONFIG"]).toContain(outcome);
        const done = outcome === "done";
        expect(store.generation).toBe(done ? 3 : 2);
        expect(store.term).toBe(done && change === "rotate" ? 2 : 1);
        expect(store.find("anthropic", "main") !== undefined).toBe(done && change === "store");
        expect(keyOf(store)).toBe(KEY);
        await store.add("openai", "afterwards", secret(NEXT_KEY), {});
        const again = await openStore(dir);
        await again.unseal(secret(done && change === "rekey" ? NEXT_PASSPHRASE : PASSPHRASE));
        expect(again.records()).toEqual(store.records());
        expect(keyOf(again, "openai", "afterwards")).toBe(NEXT_KEY);
        // The lock was given back, at the second try if need be.
        await again.remove("openai", "afterwards");
        expect((await readdir(dir)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
      }
      expect(failAt).toBeGreaterThan(10);
      expect([...outcomes].sort()).toEqual(["CONFIG", "done"]);
    },
  );
});
