/** Backups and what comes of bad ones; that a restored node goes on is in test/cli/backup.test.ts. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Header, Pack, ReadEntry } from "tar";
import { expect, test } from "vitest";
import { createBackup } from "../../../src/bus/home/backup/create.ts";
import { MANIFEST } from "../../../src/bus/home/backup/manifest.ts";
import { restoreBackup } from "../../../src/bus/home/backup/restore.ts";
import { openHome } from "../../../src/bus/home/home.ts";
import { temporaryDirectory } from "../../support/home.ts";
import { rejection } from "../../support/wait.ts";

const AT = 1_700_000_000_000;

async function homeWith(
  files: Readonly<Record<string, string>>,
): Promise<{ readonly dir: string; readonly hostId: string }> {
  const dir = join(await temporaryDirectory(), "home");
  const { hostId } = await openHome(dir);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(dir, path, ".."), { recursive: true, mode: 0o700 });
    writeFileSync(join(dir, path), text, { mode: 0o600 });
  }
  return { dir, hostId };
}

interface Entry {
  readonly path: string;
  readonly text?: string;
  readonly type?: "File" | "SymbolicLink" | "Link" | "Directory";
}

/** A file as somebody wrote it who means no good. */
async function forged(entries: readonly Entry[], manifest?: unknown): Promise<string> {
  const file = join(await temporaryDirectory(), "forged.tar.gz");
  const pack = new Pack({ gzip: true });
  const files = entries.map(({ path, text = "" }) => ({ path, bytes: text.length, sha256: sha256(text) }));
  const first = JSON.stringify(manifest ?? { v: 1, version: "0", hostId: "n1", at: AT, directories: [], files });
  for (const { path, text = "", type = "File" } of [{ path: MANIFEST, text: first }, ...entries]) {
    const header = new Header({
      path,
      type,
      size: Buffer.byteLength(text),
      mode: 0o600,
      ...(type.endsWith("Link") && { linkpath: "/etc/passwd" }),
    });
    header.encode();
    const entry = new ReadEntry(header);
    entry.end(Buffer.from(text));
    pack.add(entry);
  }
  pack.end();
  const chunks: Buffer[] = [];
  for await (const chunk of pack) chunks.push(chunk);
  writeFileSync(file, Buffer.concat(chunks));
  return file;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

test("a home comes back as it was, private, without locks, logs and the record of a broker", async () => {
  const left = {
    "credentials/lock/1": "a",
    "nats/broker.json": "{}",
    "nats/nats-server.log": "b",
    "nats/nats-server.log.1": "c",
  };
  const kept = {
    "vault/vault.bin": "sealed",
    "nats/store/jetstream/SWARM/lock/x": "stored",
    "credentials/a.nk": "seed",
  };
  const { dir, hostId } = await homeWith({ ...left, ...kept });
  mkdirSync(join(dir, "nats/store/empty"));
  const file = join(await temporaryDirectory(), "b.tar.gz");
  expect(await createBackup(dir, file, AT)).toMatchObject({ file, hostId, files: 4 });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const to = join(await temporaryDirectory(), "new");
  expect(await restoreBackup(file, to)).toMatchObject({ dir: to, hostId, at: AT, files: 4 });
  for (const [path, text] of Object.entries(kept)) {
    expect(readFileSync(join(to, path), "utf8")).toBe(text);
    expect(statSync(join(to, path)).mode & 0o777).toBe(0o600);
  }
  for (const path of Object.keys(left)) expect(existsSync(join(to, path)), path).toBe(false);
  expect(readdirSync(join(to, "nats/store/empty"))).toEqual([]);
  expect((await openHome(to)).hostId).toBe(hostId);
});

test("a backup is refused of a home in use, of none, over a file that is there, and of a link in a home", async () => {
  const { dir } = await homeWith({});
  const folder = await temporaryDirectory();
  const home = await openHome(dir);
  await home.lock();
  expect(await rejection(createBackup(dir, join(folder, "a"), AT))).toMatchObject({ code: "HOME_IN_USE" });
  await home.release();
  expect(await rejection(createBackup(join(folder, "none"), join(folder, "a"), AT))).toMatchObject({
    code: "NOT_FOUND",
  });
  writeFileSync(join(folder, "b"), "");
  expect(await rejection(createBackup(dir, join(folder, "b"), AT))).toMatchObject({ code: "CONFLICT" });
  symlinkSync("/etc", join(dir, "link"));
  expect(await rejection(createBackup(dir, join(folder, "a"), AT))).toMatchObject({ code: "CONFIG" });
  expect(readdirSync(folder)).toEqual(["b"]);
});

const good = { path: "node.json", text: "{}" };
const one = (path: string, text: string): object => ({ path, bytes: text.length, sha256: sha256(text) });
const manifestOf = (...files: readonly object[]): object => ({
  v: 1,
  version: "0",
  hostId: "n",
  at: 1,
  directories: [],
  files,
});

test.each<[string, readonly Entry[], unknown, string]>([
  ["a path that leads out", [{ path: "../evil", text: "x" }], undefined, "manifest is damaged"],
  ["an absolute path", [{ path: "/tmp/evil", text: "x" }], undefined, "manifest is damaged"],
  ["a path of Windows", [{ path: "a\\..\\evil", text: "x" }], undefined, "manifest is damaged"],
  ["a symbolic link", [{ path: "link", type: "SymbolicLink" }], undefined, "link is a SymbolicLink"],
  ["a hard link", [{ path: "link", type: "Link" }], undefined, "link is a Link"],
  [
    "a file that is not in the manifest",
    [good, { path: "more", text: "x" }],
    manifestOf(one("node.json", "{}")),
    "not in its manifest",
  ],
  ["a file that is there twice", [good, good], manifestOf(one("node.json", "{}")), "or there twice"],
  [
    "a file that is missing",
    [good],
    manifestOf(one("node.json", "{}"), one("vault/vault.bin", "")),
    "vault.bin is missing",
  ],
  [
    "another content",
    [good],
    manifestOf({ ...one("node.json", "{}"), sha256: sha256("[]") }),
    "node.json is not what was put there",
  ],
  ["another size", [good], manifestOf({ ...one("node.json", "{}"), bytes: 3 }), "instead of 3"],
  ["another version", [good], { ...manifestOf(one("node.json", "{}")), v: 2 }, "of another version"],
])("restore refuses %s and leaves nothing", async (_, entries, manifest, message) => {
  const folder = await temporaryDirectory();
  const error = await rejection(restoreBackup(await forged(entries, manifest), join(folder, "home")));
  expect(String(error)).toContain(message);
  expect(error).toMatchObject({ code: "INVALID" });
  expect(readdirSync(folder)).toEqual([]);
});

test("restore refuses what is no backup, what is cut off, and a home that is not empty", async () => {
  const folder = await temporaryDirectory();
  const home = join(folder, "home");
  const file = join(await temporaryDirectory(), "file");
  writeFileSync(file, "no tar");
  expect(await rejection(restoreBackup(file, home))).toMatchObject({ code: "INVALID" });
  const whole = readFileSync(await forged([{ path: "a", text: "x".repeat(100_000) }]));
  writeFileSync(file, whole.subarray(0, whole.length / 2));
  expect(await rejection(restoreBackup(file, home))).toMatchObject({ code: "INVALID" });
  expect(await rejection(restoreBackup(join(folder, "none"), home))).toMatchObject({ code: "CONFIG" });
  expect(readdirSync(folder)).toEqual([]);
  writeFileSync(join(folder, "x"), "");
  expect(await rejection(restoreBackup(file, folder))).toMatchObject({ code: "CONFLICT" });
});
