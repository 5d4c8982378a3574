/** Backups of a home: nothing of it is lost, nothing half is left, and nothing else gets in. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  createReadStream,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gunzipSync, gzipSync } from "node:zlib";
import { Header } from "tar";
import { expect, test, vi } from "vitest";
import { backUpInto, backUpTo } from "../../../src/bus/backup/backup.ts";
import { FORMAT, MANIFEST, type Manifest, parseManifest } from "../../../src/bus/backup/manifest.ts";
import { restoreHome } from "../../../src/bus/backup/restore.ts";
import { endBlocks, headerBlocks, padding } from "../../../src/bus/backup/tar.ts";
import { openHome } from "../../../src/bus/home/home.ts";
import { temporaryDirectory } from "../../support/home.ts";

const OPTIONS = { version: "0.1.0", now: 1_700_000_000_000 };
const AT = new Date(OPTIONS.now);
const LONG = `nats/store/${"long".repeat(40)}/${"name".repeat(40)}`;

/** A home that no node has run on, with some of what one leaves there. */
async function someHome(): Promise<{ readonly dir: string; readonly home: string; readonly hostId: string }> {
  const dir = await temporaryDirectory();
  const home = join(dir, "home");
  const { hostId } = await openHome(home);
  for (const path of ["vault", "vault/lock", "lock", LONG, "nats/store/empty"])
    mkdirSync(join(home, path), { recursive: true });
  for (const path of ["vault/vault.bin", `${LONG}/1.blk`, "config.json", "credentials/client.nk", "vault/nothing"]) {
    writeFileSync(join(home, path), path === "vault/nothing" ? "" : path.repeat(5_000));
  }
  for (const path of ["lock/1", "vault/lock/7", "nats/broker.json", "nats/nats-server.log", "nats/nats-server.log.1"]) {
    if (path !== "lock/1") writeFileSync(join(home, path), "of this life only");
  }
  writeFileSync(join(home, "node.json.4711.0123456789ab.tmp"), "half");
  return { dir, home, hostId };
}

/** Paths, modes and contents of everything below `dir`. */
function everything(dir: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const mode = (statSync(path).mode & 0o777).toString(8);
    found[path.slice(dir.length + 1)] = entry.isDirectory() ? mode : `${mode} ${readFileSync(path, "latin1")}`;
  }
  return found;
}

async function restore(archive: Buffer, home: string): Promise<Manifest> {
  return await restoreHome(Readable.from([archive], { objectMode: false }), home);
}

type Entry = readonly [
  path: string,
  content: string | Buffer,
  type?: "SymbolicLink" | "Link" | "CharacterDevice" | "FIFO",
];

/** An archive of the given entries, whatever they are. */
function archive(...entries: readonly Entry[]): Buffer {
  const blocks = entries.flatMap(([path, content, type]) => {
    const body = Buffer.from(content as string);
    if (path.endsWith("/")) return [headerBlocks(path.slice(0, -1), "Directory", 0, AT)];
    if (type === undefined) return [headerBlocks(path, "File", body.length, AT), body, padding(body.length)];
    const header = Buffer.alloc(512);
    new Header({ path, type, size: 0, linkpath: "/etc/passwd", mode: 0o777, mtime: AT }).encode(header);
    return [header];
  });
  return gzipSync(Buffer.concat([...blocks, endBlocks()]));
}

const NODE = ["node.json", "{}"] as const;
const SHA_NODE = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

function manifest(changes: object = {}): Entry {
  const files = [{ path: "node.json", bytes: 2, sha256: SHA_NODE }];
  return [
    MANIFEST,
    JSON.stringify({ format: FORMAT, vgas: "0.1.0", hostId: "n1", madeAt: 1, directories: [], files, ...changes }),
  ];
}

test("a home comes back as it was, but for locks, the broker's words and what was half written", async () => {
  const { dir, home, hostId } = await someHome();
  const before = everything(home);
  chmodSync(join(home, "config.json"), 0o644);
  const file = join(dir, "backup.tar.gz");
  const report = await backUpTo(home, file, OPTIONS);
  expect(report).toMatchObject({ hostId, madeAt: OPTIONS.now, files: 6 });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const restored = join(dir, "made", "restored");
  expect((await restoreHome(createReadStream(file), restored)).hostId).toBe(hostId);
  const expected = Object.fromEntries(
    Object.entries(before)
      .filter(([path]) => !/lock|broker|\.log|\.tmp$/.test(path))
      .map(([path, content]) => [path, content.replace(/^\d+/, content.includes(" ") ? "600" : "700")])
      .map(([path = "", content = ""]) => [path, statSync(join(home, path)).isDirectory() ? "700" : content]),
  );
  expect(everything(restored)).toEqual(expected);
  expect(statSync(restored).mode & 0o777).toBe(0o700);
  expect(readdirSync(dir).sort()).toEqual(["backup.tar.gz", "home", "made"]);
});

test("the archive is one that any tar reads, with a manifest of every file first", async () => {
  const { dir, home } = await someHome();
  const file = join(dir, "backup.tar.gz");
  await backUpTo(home, file, OPTIONS);
  const listed = execFileSync("tar", ["-tzf", file], { encoding: "utf8" }).trim().split("\n");
  const told = parseManifest(execFileSync("tar", ["-xzOf", file, MANIFEST], { encoding: "utf8" }));
  const directories = told.directories.map((path) => `${path}/`);
  expect(listed).toEqual([MANIFEST, ...directories, ...told.files.map(({ path }) => path)]);
  expect(directories).toContain("nats/store/empty/");
});

test("an archive that was made in memory is the same, and an empty directory is restored into", async () => {
  const { dir, home } = await someHome();
  const chunks: Uint8Array[] = [];
  await backUpInto(home, async (chunk) => void chunks.push(chunk), OPTIONS);
  const empty = join(dir, "empty");
  mkdirSync(empty);
  await restore(Buffer.concat(chunks), empty);
  expect(everything(empty)["config.json"]).toBe(everything(home)["config.json"]?.replace(/^\d+/, "600"));
});

test("a home in use, one that is none and one with a link in it are refused, and a file that exists is kept", async () => {
  const { dir, home } = await someHome();
  const file = join(dir, "backup.tar.gz");
  await expect(backUpTo(join(dir, "none"), file, OPTIONS)).rejects.toMatchObject({ code: "NOT_FOUND" });
  expect(readdirSync(dir)).toEqual(["home"]);
  await expect(backUpTo(home, join(home, "vault", "b"), OPTIONS)).rejects.toMatchObject({ code: "CONFIG" });
  const node = await openHome(home);
  await node.lock();
  await expect(backUpTo(home, file, OPTIONS)).rejects.toMatchObject({
    code: "HOME_IN_USE",
    message: expect.stringContaining(`vgas drain ${node.hostId} --force`),
  });
  await node.release();
  writeFileSync(file, "mine");
  await expect(backUpTo(home, file, OPTIONS)).rejects.toMatchObject({ code: "CONFLICT" });
  expect(readFileSync(file, "utf8")).toBe("mine");
  await backUpTo(home, file, { ...OPTIONS, force: true });
  expect(gunzipSync(readFileSync(file)).length).toBeGreaterThan(50_000);
  await expect(backUpTo(home, dir, { ...OPTIONS, force: true })).rejects.toMatchObject({ code: "CONFIG" });
  symlinkSync("/etc", join(home, "vault", "link"));
  await expect(backUpTo(home, file, { ...OPTIONS, force: true })).rejects.toMatchObject({ code: "CONFIG" });
  await (await openHome(home)).lock();
});

test("a full disk is told, and leaves nothing half, neither of a backup nor of a home", async () => {
  const { dir, home } = await someHome();
  const file = join(dir, "backup.tar.gz");
  await backUpTo(home, file, OPTIONS);
  const whole = readFileSync(file);
  const handle = await open(file);
  await handle.close();
  const prototype = Object.getPrototypeOf(handle) as { sync: () => Promise<void> };
  const sync = vi.spyOn(prototype, "sync");
  const told = { code: "CONFIG", message: expect.stringContaining("no space is left") };
  const full = async (): Promise<void> => {
    throw Object.assign(new Error("full"), { code: "ENOSPC" });
  };
  try {
    sync.mockImplementation(full);
    await expect(restore(whole, join(dir, "restored"))).rejects.toMatchObject(told);
    // The lock of the home and its directory still fit.
    sync.mockReset().mockResolvedValueOnce().mockResolvedValueOnce().mockImplementation(full);
    await expect(backUpTo(home, join(dir, "other"), OPTIONS)).rejects.toMatchObject(told);
    expect(sync.mock.calls.length).toBeGreaterThan(2);
    expect(readdirSync(dir).sort()).toEqual(["backup.tar.gz", "home"]);
  } finally {
    sync.mockRestore();
  }
});

test.each<readonly [string, Buffer, string, string]>([
  ["nothing", Buffer.alloc(0), "BACKUP_DAMAGED", ""],
  ["no gzip", Buffer.from("no archive"), "BACKUP_DAMAGED", "not gzip"],
  ["a gzip of something else", gzipSync("x".repeat(4_096)), "BACKUP_DAMAGED", "header"],
  ["a foreign archive", archive(NODE), "BACKUP_DAMAGED", "does not begin with a manifest"],
  ["a newer format", archive(manifest({ format: FORMAT + 1 }), NODE), "CONFIG", "restore it with that version"],
  ["a manifest without a node", archive(manifest({ files: [] })), "BACKUP_DAMAGED", "no node"],
  ["a lock", archive(manifest({ directories: ["lock"] }), ["lock/", ""], NODE), "BACKUP_DAMAGED", "no backup holds"],
  ["an absolute path", archive(manifest(), NODE, ["/tmp/vgas-escaped", "x"]), "BACKUP_DAMAGED", "not in its manifest"],
  [
    "a path that leads out",
    archive(manifest({ directories: [".."] }), ["../", ""], NODE),
    "BACKUP_DAMAGED",
    "another form",
  ],
  [
    "a path that leads out, unnamed",
    archive(manifest(), NODE, ["../vgas-escaped", "x"]),
    "BACKUP_DAMAGED",
    "not in its manifest",
  ],
  ["a symbolic link", archive(manifest(), ["node.json", "", "SymbolicLink"]), "BACKUP_DAMAGED", "neither file"],
  ["a hard link", archive(manifest(), ["node.json", "", "Link"]), "BACKUP_DAMAGED", "neither file"],
  ["a device", archive(manifest(), NODE, ["null", "", "CharacterDevice"]), "BACKUP_DAMAGED", "neither file"],
  ["a pipe", archive(manifest(), NODE, ["pipe", "", "FIFO"]), "BACKUP_DAMAGED", "neither file"],
  ["a file that is not named", archive(manifest(), NODE, ["more", "x"]), "BACKUP_DAMAGED", "not in its manifest"],
  ["a file twice", archive(manifest(), NODE, NODE), "BACKUP_DAMAGED", "twice"],
  ["a file that is missing", archive(manifest()), "BACKUP_DAMAGED", "node.json is missing"],
  [
    "a directory that is missing",
    archive(manifest({ directories: ["vault"] }), NODE),
    "BACKUP_DAMAGED",
    "vault is missing",
  ],
  ["another content", archive(manifest(), ["node.json", "[]"]), "BACKUP_DAMAGED", "not what was saved"],
  ["more content", archive(manifest(), ["node.json", "{} "]), "BACKUP_DAMAGED", "3 bytes"],
  ["a directory for a file", archive(manifest(), ["node.json/", ""]), "BACKUP_DAMAGED", "not in its manifest"],
  [
    "something behind its end",
    Buffer.concat([archive(manifest(), NODE), gzipSync("more")]),
    "BACKUP_DAMAGED",
    "behind its end",
  ],
])("refuses %s, and leaves nothing there", async (_, bytes, code, message) => {
  const dir = await temporaryDirectory();
  await expect(restore(bytes, join(dir, "home"))).rejects.toMatchObject({
    code,
    message: expect.stringContaining(message),
  });
  expect(readdirSync(dir)).toEqual([]);
});

test("refuses a backup that is cut off anywhere, or in which a byte was changed", async () => {
  const { dir, home } = await someHome();
  const file = join(dir, "backup.tar.gz");
  await backUpTo(home, file, OPTIONS);
  const whole = readFileSync(file);
  const into = join(dir, "restored");
  for (let part = 1; part < 20; part++) {
    const cut = whole.subarray(0, Math.floor((whole.length * part) / 20));
    await expect(restore(cut, into)).rejects.toMatchObject({
      code: "BACKUP_DAMAGED",
      message: expect.stringContaining("cut off"),
    });
    // Packed anew, so that no checksum of gzip finds it.
    const bytes = gunzipSync(whole);
    const at = Math.floor((bytes.length * part) / 20);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    await restore(gzipSync(bytes), into).then(
      // Padding, times and owners are of no account: what counts is in the manifest.
      () => expect(part).toBeLessThan(0),
      (error) => expect(error).toMatchObject({ code: "BACKUP_DAMAGED" }),
    );
  }
  const unended = gzipSync(gunzipSync(whole).subarray(0, -1_024));
  await expect(restore(unended, into)).rejects.toMatchObject({ code: "BACKUP_DAMAGED" });
  expect(readdirSync(dir).sort()).toEqual(["backup.tar.gz", "home"]);
});

test("a home that is not empty is not touched", async () => {
  const dir = await temporaryDirectory();
  mkdirSync(join(dir, "home"));
  writeFileSync(join(dir, "home", "node.json"), "mine");
  await expect(restore(archive(manifest(), NODE), join(dir, "home"))).rejects.toMatchObject({ code: "CONFLICT" });
  expect(readFileSync(join(dir, "home", "node.json"), "utf8")).toBe("mine");
  expect(readdirSync(dir)).toEqual(["home"]);
});

test("a backup that is given up leaves no file", async () => {
  const { dir, home } = await someHome();
  const signal = AbortSignal.abort();
  await expect(backUpTo(home, join(dir, "backup"), { ...OPTIONS, signal })).rejects.toMatchObject({ code: "ABORTED" });
  expect(readdirSync(dir)).toEqual(["home"]);
});
