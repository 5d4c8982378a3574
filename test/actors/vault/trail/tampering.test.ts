/** Somebody changes the files of a trail: which record is named, by the verification and by the next start. */
import { cp, readFile, rename, rm, unlink } from "node:fs/promises";
import { join } from "node:path";
import { createUser } from "@nats-io/nkeys";
import { describe, expect, test } from "vitest";
import { readCheckpoint } from "../../../../src/actors/vault/trail/checkpoint.ts";
import type { StoredCheckpoint } from "../../../../src/actors/vault/trail/checkpoints.ts";
import type { Trail, TrailHead } from "../../../../src/actors/vault/trail/trail.ts";
import { verifyTrail } from "../../../../src/actors/vault/trail/verify.ts";
import { Secret } from "../../../../src/bus/sealed/secret.ts";
import { signerOf } from "../../../../src/bus/sealed/signing.ts";
import { rejection } from "../../../support/wait.ts";
import {
  checkpointOf,
  copyOf,
  createTrail,
  entryOf,
  filesOf,
  linesOf,
  openTrail,
  rewrite,
  seed,
  signer,
  type TrailFile,
  trailFolder,
  VAULT_ID,
} from "./trails.ts";

const limits = { segmentBytes: 2_500, epochRecords: 6 };

interface Original {
  readonly dir: string;
  readonly files: readonly TrailFile[];
  readonly head: TrailHead;
  /** Of the last record, as it was sent. */
  readonly checkpoints: readonly StoredCheckpoint[];
  readonly count: number;
}

/** A trail of several lives, epochs and files. */
async function original(): Promise<Original> {
  const dir = await trailFolder();
  const lives: Trail[] = [(await createTrail(dir, { limits })).trail];
  for (let n = 0; n < 24; n++) {
    if (n % 9 === 8) {
      await lives.at(-1)?.close();
      lives.push((await openTrail(dir, { limits })).trail);
    }
    await lives.at(-1)?.append(entryOf(n));
  }
  const trail = lives.at(-1);
  if (trail === undefined) throw new Error("unreachable");
  await trail.close();
  const files = await filesOf(dir);
  const { head } = trail;
  return { dir, files, head, checkpoints: [checkpointOf(head)], count: head.seq };
}

const verify = (dir: string, checkpoints: readonly StoredCheckpoint[] = [], by: Secret = seed()) =>
  verifyTrail({ trail: { dir }, seed: by, checkpoints });

async function write(dir: string, files: readonly TrailFile[]): Promise<void> {
  for (const { name, lines } of files) {
    if (lines.length === 0) await rm(join(dir, name), { force: true });
    else await rewrite(dir, name, lines.map((line) => `${line}\n`).join(""));
  }
}

const seqOf = (line: string): number => JSON.parse(line).seq;

/** What `change` makes of the lines of each file, for each place: the file, the line in it. */
async function atEachLine(
  { dir, files }: Original,
  change: (lines: string[], at: number) => string[] | undefined,
  check: (spoiled: string, seq: number) => Promise<void>,
): Promise<number> {
  const copy = await copyOf(dir);
  let places = 0;
  for (const { name, lines } of files) {
    for (let at = 0; at < lines.length; at++) {
      const changed = change([...lines], at);
      if (changed === undefined) continue;
      await rewrite(copy, name, changed.map((line) => `${line}\n`).join(""));
      await check(copy, seqOf(lines[at] ?? ""));
      places++;
    }
    await rewrite(copy, name, lines.map((line) => `${line}\n`).join(""));
  }
  return places;
}

describe("the verification", () => {
  test("finds nothing wrong with what was written", async () => {
    const { dir, count, checkpoints, files } = await original();
    expect(files.length).toBeGreaterThan(2);
    expect(await verify(dir, checkpoints)).toEqual({ ok: true, records: count, checkpoints: 1 });
  });

  test.each<[string, (lines: string[], at: number) => string[] | undefined]>([
    [
      "a record that was edited",
      (lines, at) => lines.with(at, (lines[at] ?? "").replace('"outcome":"ok"', '"outcome":"failed"')),
    ],
    ["a time that was edited", (lines, at) => lines.with(at, (lines[at] ?? "").replace(/"at":(\d)/, '"at":9$1'))],
    [
      "an epoch that was edited",
      (lines, at) => lines.with(at, (lines[at] ?? "").replace(/"epoch":(\d+)/, '"epoch":1$1')),
    ],
    [
      "a sequence that was edited",
      (lines, at) => lines.with(at, (lines[at] ?? "").replace(/"seq":(\d+)/, '"seq":1$1')),
    ],
    ["a MAC that was edited", (lines, at) => lines.with(at, (lines[at] ?? "").replace(/"mac":"..../, '"mac":"AAAA'))],
    ["a record that is no JSON", (lines, at) => lines.with(at, (lines[at] ?? "").slice(1))],
    ["an empty line", (lines, at) => lines.toSpliced(at, 0, "")],
    ["a record that was deleted", (lines, at) => (lines.length > 1 ? lines.toSpliced(at, 1) : undefined)],
    ["a record that was repeated", (lines, at) => lines.toSpliced(at, 0, lines[at + 1] ?? lines[at - 1] ?? "")],
    [
      "two records that changed places",
      (lines, at) => {
        const [a, b] = [lines[at], lines[at + 1]];
        return a === undefined || b === undefined ? undefined : lines.with(at, b).with(at + 1, a);
      },
    ],
    [
      "a record of which the end was cut off, and all behind it",
      (lines, at) => [...lines.slice(0, at), (lines[at] ?? "").slice(0, -1)],
    ],
  ])("names %s, at every line", async (_what, change) => {
    const before = await original();
    const places = await atEachLine(before, change, async (dir, seq) => {
      const verdict = await verify(dir, before.checkpoints);
      expect(verdict).toMatchObject({
        ok: false,
        at: seq,
        records: seq - 1,
        problem: expect.stringContaining(String(seq)),
      });
    });
    expect(places).toBeGreaterThan(20);
  });

  test("notices by the checkpoint that everything behind a line was cut off, at every line", async () => {
    const { dir, files, checkpoints, count } = await original();
    const copy = await copyOf(dir);
    for (let kept = 1; kept < count; kept++) {
      let left = kept;
      const cut = files.map(({ name, lines }) => {
        const some = lines.slice(0, left);
        left -= some.length;
        return { name, lines: some };
      });
      await write(copy, cut);
      expect(await verify(copy, checkpoints)).toMatchObject({ ok: false, at: kept + 1, records: kept });
      // Without one only the present epoch's end could be missed: earlier epochs have an end of their own, and the key tells.
      const { ok, problem } = await verify(copy);
      const last = JSON.parse(files.flatMap(({ lines }) => lines)[kept - 1] ?? "");
      const present = JSON.parse(files.at(-1)?.lines.at(-1) ?? "").epoch;
      expect({ ok, problem }).toEqual(
        last.epoch === present || (last.op === "epoch" && last.epoch === present - 1)
          ? { ok: true, problem: undefined }
          : { ok: false, problem: expect.stringContaining("trail.key is of epoch") },
      );
    }
  });

  test("names the first record of a file that is missing", async () => {
    const { dir, files } = await original();
    for (const { name, lines } of files.slice(0, -1)) {
      const copy = await copyOf(dir);
      await unlink(join(copy, name));
      expect(await verify(copy)).toMatchObject({ ok: false, at: seqOf(lines[0] ?? "") });
    }
  });

  test("notices another key, one of an earlier epoch, and none", async () => {
    const { dir, checkpoints } = await original();
    const copy = await copyOf(dir);
    const good = await readFile(join(copy, "trail.key"), "utf8");
    const epoch: number = JSON.parse(good).epoch;
    await rewrite(copy, "trail.key", good.replace(/"key":"...../, '"key":"AAAAA'));
    expect(await verify(copy, checkpoints)).toMatchObject({
      ok: false,
      problem: expect.stringContaining("was replaced"),
    });
    await rewrite(copy, "trail.key", good.replace(`"epoch":${epoch}`, `"epoch":${epoch - 1}`));
    expect(await verify(copy, checkpoints)).toMatchObject({
      ok: false,
      problem: expect.stringContaining("trail.key is of"),
    });
    await unlink(join(copy, "trail.key"));
    expect(await verify(copy, checkpoints)).toMatchObject({ ok: false, problem: "trail.key is missing" });
  });

  test("notices that an older copy of everything was put back, and written on from there", async () => {
    const dir = await trailFolder();
    const { trail: first } = await createTrail(dir, { limits });
    for (let n = 0; n < 9; n++) await first.append(entryOf(n));
    const copy = await copyOf(dir);
    const kept = first.head.seq;
    for (let n = 9; n < 12; n++) await first.append(entryOf(n));
    await first.close();
    const checkpoints = [checkpointOf(first.head)];
    expect(await verify(copy, checkpoints)).toMatchObject({ ok: false, at: kept + 1, records: kept });
    const { trail: again } = await openTrail(copy, { limits });
    for (let n = 9; n < 15; n++) await again.append(entryOf(n));
    await again.close();
    expect(again.head.seq).toBeGreaterThan(first.head.seq);
    expect(await verify(copy)).toMatchObject({ ok: true });
    expect(await verify(copy, checkpoints)).toMatchObject({ ok: false, at: first.head.seq, checkpoints: 0 });
  });

  test("notices an end that was forged with the stolen key of the present epoch", async () => {
    const dir = await trailFolder();
    const { trail: honest } = await createTrail(dir);
    for (let n = 0; n < 5; n++) await honest.append(entryOf(n));
    await honest.advance();
    const sealedOff = honest.head.seq;
    for (let n = 5; n < 9; n++) await honest.append(entryOf(n));
    await honest.close();
    const checkpoints = [checkpointOf(honest.head)];
    const [file] = await filesOf(dir);
    if (file === undefined) throw new Error("no file");
    const forge = async (kept: number) => {
      const copy = await copyOf(dir);
      await rewrite(
        copy,
        file.name,
        file.lines
          .slice(0, kept)
          .map((line) => `${line}\n`)
          .join(""),
      );
      return { copy, thief: () => openTrail(copy) };
    };
    // Within the present epoch the thief can write whatever he likes, and only the checkpoint knows.
    const { copy, thief } = await forge(sealedOff + 1);
    const { trail } = await thief();
    for (let n = 0; n < 9; n++) await trail.append({ ...entryOf(n), provider: "forged" });
    await trail.close();
    expect(await verify(copy)).toMatchObject({ ok: true });
    expect(await verify(copy, checkpoints)).toMatchObject({ ok: false, at: honest.head.seq });
    // What was written in earlier epochs stands, also against who holds the key and no checkpoint was sent.
    expect(await rejection((await forge(sealedOff - 1)).thief())).toMatchObject({ code: "VAULT_DAMAGED" });
  });

  test("counts the messages that the node has not signed, and holds none against the trail; its own it does", async () => {
    const { dir, head, checkpoints, count } = await original();
    const other = signerOf("other", createUser().getSeed());
    const foreign = [
      checkpointOf({ seq: 2, mac: "x".repeat(43) }, other, 9),
      checkpointOf({ seq: count + 10, mac: "x".repeat(43) }, other, 10),
      { sequence: 11, checkpoint: readCheckpoint(Buffer.from("junk"), VAULT_ID, signer.publicKey) },
    ];
    const good = { ok: true, records: count, unknown: 3, unknownAt: 9 };
    expect(await verify(dir, [...foreign, ...checkpoints])).toEqual({ ...good, checkpoints: 1 });
    // They vouch for nothing either.
    expect(await verify(dir, foreign)).toEqual({ ...good, checkpoints: 0 });
    const early = checkpointOf({ seq: 2, mac: "x".repeat(43) });
    expect(await verify(dir, [...foreign, early, checkpointOf(head)])).toMatchObject({
      ok: false,
      at: 2,
      records: 1,
      checkpoints: 0,
      unknown: 3,
    });
  });

  test("of a trail that another vault made fails at the first record", async () => {
    const { dir } = await original();
    expect(await verify(dir, [], new Secret(Buffer.alloc(32, 9)))).toMatchObject({ ok: false, at: 1, records: 0 });
  });

  test("of a trail that is written at the same time finds it good, and what is done to its file behind its back", async () => {
    const dir = await trailFolder();
    const { trail: live } = await createTrail(dir, { limits: { segmentBytes: 20_000, epochRecords: 50 } });
    let n = 0;
    const writing = Array.from({ length: 4 }, async () => {
      while (n < 800) await live.append(entryOf(n++));
    });
    for (let round = 0; round < 5; round++) {
      const checkpoints = [checkpointOf(live.head)];
      expect(await verifyTrail({ trail: live, seed: seed(), checkpoints })).toMatchObject({ ok: true });
    }
    await Promise.all(writing);
    const files = await filesOf(dir);
    const { name, lines } = files.at(-1) ?? { name: "", lines: [] };
    await rewrite(
      dir,
      name,
      lines
        .slice(0, -1)
        .map((line) => `${line}\n`)
        .join(""),
    );
    expect(await verifyTrail({ trail: live, seed: seed(), checkpoints: [] })).toMatchObject({
      ok: false,
      at: live.head.seq,
      problem: expect.stringContaining("cut off"),
    });
  });
});

describe("a start", () => {
  test("refuses a last file that was changed at any line, and names file and record", async () => {
    const before = await original();
    const last = before.files.at(-1);
    if (last === undefined) throw new Error("no file");
    const copy = await copyOf(before.dir);
    const named: boolean[] = [];
    for (const [at, line] of last.lines.entries()) {
      const edited = last.lines.with(at, line.replace('"outcome":"ok"', '"outcome":"failed"'));
      await rewrite(copy, last.name, edited.map((each) => `${each}\n`).join(""));
      const error = await rejection(openTrail(copy, { limits }));
      expect(error).toMatchObject({ code: "VAULT_DAMAGED", message: expect.stringContaining(last.name) });
      named.push((error as Error).message.includes(`record ${seqOf(line)} `));
    }
    expect(named).not.toContain(false);
  });

  test.each<[string, (lines: string[]) => string[]]>([
    ["a record is missing", (lines) => lines.toSpliced(2, 1)],
    [
      "two records changed places",
      (lines) => [...lines.slice(0, 1), ...lines.slice(1, 3).reverse(), ...lines.slice(3)],
    ],
    ["a record stands twice", (lines) => lines.toSpliced(2, 0, lines[1] ?? "")],
    ["there is an empty line", (lines) => lines.toSpliced(2, 0, "")],
    ["the head is missing", (lines) => lines.slice(1)],
    ["nothing is left", () => []],
  ])("refuses a last file in which %s", async (_what, change) => {
    const { dir } = await original();
    const last = (await filesOf(dir)).at(-1);
    if (last === undefined) throw new Error("no file");
    await rewrite(
      dir,
      last.name,
      change(last.lines)
        .map((line) => `${line}\n`)
        .join(""),
    );
    expect(await rejection(openTrail(dir, { limits }))).toMatchObject({
      code: "VAULT_DAMAGED",
      message: expect.stringContaining(last.name),
    });
  });

  test("refuses a key that is not of the trail's present epoch, a broken one, and a trail without its files", async () => {
    const { dir } = await original();
    const good = await readFile(join(dir, "trail.key"), "utf8");
    const epoch: number = JSON.parse(good).epoch;
    for (const bad of [
      good.replace(`"epoch":${epoch}`, `"epoch":${epoch - 1}`),
      good.replace(`"epoch":${epoch}`, `"epoch":${epoch + 2}`),
      good.replace(/"key":"...../, '"key":"AAAAA'),
      "{}",
      "",
    ]) {
      await rewrite(dir, "trail.key", bad);
      expect(await rejection(openTrail(dir, { limits }))).toMatchObject({ code: "VAULT_DAMAGED" });
    }
    await unlink(join(dir, "trail.key"));
    expect(await rejection(openTrail(dir, { limits }))).toMatchObject({ code: "VAULT_DAMAGED" });
    await rewrite(dir, "trail.key", good);
    for (const { name } of await filesOf(dir)) await unlink(join(dir, name));
    const away = `${dir}.away`;
    await rename(dir, away);
    await cp(away, dir, { recursive: true });
    expect(await rejection(openTrail(dir, { limits }))).toMatchObject({
      code: expect.stringMatching(/VAULT_DAMAGED|CONFIG/),
    });
    expect(await linesOf(dir)).toEqual([]);
  });
});
