import { chmod, mkdir, open, readdir, readFile, rename, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { readKey } from "../../../../src/actors/vault/trail/epoch-key.ts";
import { MAX_BATCH_BYTES, MAX_LINE_BYTES } from "../../../../src/actors/vault/trail/line.ts";
import { Trail, type TrailOptions } from "../../../../src/actors/vault/trail/trail.ts";
import { verifyTrail } from "../../../../src/actors/vault/trail/verify.ts";
import { silentLogger } from "../../../../src/protocols/logger.ts";
import { temporaryDirectory } from "../../../support/home.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { rejection } from "../../../support/wait.ts";
import { createTrail, entryOf, filesOf, linesOf, openTrail, seed, trailFolder } from "./trails.ts";

const verify = (trail: Trail) => verifyTrail({ trail, seed: seed(), checkpoints: [] });

describe("a trail", () => {
  test("gives each record a sequence and a time, and tells all of them once to the next start", async () => {
    const dir = await trailFolder();
    expect(await Trail.exists(dir)).toBe(false);
    const clock = new ManualClock();
    const first = await createTrail(dir, { clock, snapshot: () => ({ at: "birth" }) });
    expect(await Trail.exists(dir)).toBe(true);
    expect(first.trail.head.seq).toBe(1);
    const record = await first.trail.append(entryOf(1));
    expect(record).toEqual({ ...entryOf(1), seq: 2, at: clock.now() });
    await first.trail.append(entryOf(2));
    await first.trail.close();
    const second = await openTrail(dir, { clock });
    expect(second.restored).toEqual([{ at: "birth" }]);
    expect(second.replayed).toEqual([record, { ...entryOf(2), seq: 3, at: clock.now() }]);
    // The start ended the epoch of the first.
    expect(JSON.parse((await linesOf(dir)).at(-1) ?? "")).toMatchObject({ op: "epoch", seq: 4, epoch: 0 });
    expect(await verify(second.trail)).toEqual({ ok: true, records: 4, checkpoints: 0 });
    expect(await second.trail.append(entryOf(3))).toMatchObject({ seq: 5 });
  });

  test("keeps its folder and files to itself, and refuses those that others can read", async () => {
    const dir = await trailFolder();
    const { trail } = await createTrail(dir);
    await trail.append(entryOf(1));
    await trail.close();
    const mode = async (path: string) => (await stat(path)).mode & 0o777;
    expect(await mode(dir)).toBe(0o700);
    const names = await readdir(dir);
    expect(names.sort()).toEqual(["00000001.jsonl", "trail.key"]);
    for (const name of names) {
      expect(await mode(join(dir, name))).toBe(0o600);
      await chmod(join(dir, name), 0o640);
      expect(await rejection(openTrail(dir))).toMatchObject({ code: "CONFIG", message: expect.stringContaining(name) });
      await chmod(join(dir, name), 0o600);
    }
    await chmod(dir, 0o750);
    expect(await rejection(openTrail(dir))).toMatchObject({ code: "CONFIG", message: expect.stringContaining(dir) });
    await chmod(dir, 0o700);
    const segment = join(dir, "00000001.jsonl");
    await rename(segment, `${segment}.away`);
    await symlink(`${segment}.away`, segment);
    expect(await rejection(openTrail(dir))).toMatchObject({ code: "CONFIG", message: expect.stringContaining("link") });
  });

  test("is made once: a second is refused as soon as the first has a record", async () => {
    const dir = await trailFolder();
    const { trail } = await createTrail(dir);
    expect(await rejection(createTrail(dir))).toMatchObject({ code: "CONFLICT" });
    await trail.close();
    expect(await rejection(openTrail(await trailFolder()))).toMatchObject({ code: "NOT_FOUND" });
    // A crash right after the key was written leaves no record: whoever makes the vault again makes the trail again.
    const bare = join(await temporaryDirectory(), "bare");
    await mkdir(bare, { mode: 0o700 });
    await writeFile(join(bare, "trail.key"), await readFile(join(dir, "trail.key")), { mode: 0o600 });
    expect((await createTrail(bare)).trail.head.seq).toBe(1);
  });

  test("writes 10 000 appends at once with few syncs, in the order of the calls", async () => {
    const { trail } = await createTrail(await trailFolder());
    const probe = await open(join(trail.dir, "trail.key"), "r");
    const datasync = vi.spyOn(Object.getPrototypeOf(probe), "datasync");
    const write = vi.spyOn(Object.getPrototypeOf(probe), "write");
    await probe.close();
    try {
      const records = await Promise.all(Array.from({ length: 10_000 }, (_, n) => trail.append(entryOf(n))));
      const order = records.map(({ detail }) => detail?.["n"]);
      expect(order).toEqual(Array.from({ length: 10_000 }, (_, n) => n));
      expect(datasync.mock.calls.length).toBeGreaterThan(0);
      expect(datasync.mock.calls.length).toBeLessThanOrEqual(12);
      // No write is larger than what a start takes for torn.
      const largest = Math.max(...write.mock.calls.map(([, , length]) => Number(length)));
      expect(largest).toBeLessThan(MAX_BATCH_BYTES + 2 * MAX_LINE_BYTES);
    } finally {
      datasync.mockRestore();
      write.mockRestore();
    }
    const records = (await linesOf(trail.dir)).map((line) => JSON.parse(line));
    expect(records.filter(({ epoch }) => epoch === 0)).toHaveLength(10_000);
    const seqs = records.map(({ seq }) => seq);
    expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, i) => i + 1));
    // 10 000 records are more than one epoch.
    expect(await verify(trail)).toEqual({ ok: true, records: 10_002, checkpoints: 0 });
    expect((await readKey(trail.dir))?.epoch).toBe(1);
  });

  test("answers an append only after its bytes were synced", async () => {
    const { trail } = await createTrail(await trailFolder());
    const probe = await open(join(trail.dir, "trail.key"), "r");
    const prototype = Object.getPrototypeOf(probe);
    const original = prototype.datasync;
    await probe.close();
    const events: string[] = [];
    prototype.datasync = async function () {
      await original.call(this);
      events.push("synced");
    };
    try {
      await trail.append(entryOf(1)).then(() => events.push("answered"));
    } finally {
      prototype.datasync = original;
    }
    expect(events).toEqual(["synced", "answered"]);
  });

  test("begins a new file when one is full, with a snapshot that adds up exactly what stands before it", async () => {
    const dir = await trailFolder();
    let sum = 0;
    const limits = { segmentBytes: 1_000 };
    const { trail } = await createTrail(dir, { limits, snapshot: () => ({ sum }) });
    let next = 0;
    const append = async () => {
      while (next < 200) {
        const n = next++;
        let { usage } = await trail.append({ ...entryOf(n), usage: { leases: n } });
        // As through a few more functions that wait for each other.
        for (let layer = 0; layer < 50; layer++) usage = await usage;
        sum += usage?.leases ?? 0;
      }
    };
    // The second half comes while the first is written, so files begin while others are still being answered.
    const early = Array.from({ length: 3 }, append);
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([...early, ...Array.from({ length: 3 }, append)]);
    const files = await filesOf(dir);
    expect(files.length).toBeGreaterThan(4);
    let before = 0;
    for (const { lines } of files) {
      const [head, ...rest] = lines.map((line) => JSON.parse(line));
      expect(head).toMatchObject({ op: "segment", snapshot: { sum: before } });
      for (const { usage } of rest) before += usage?.leases ?? 0;
    }
    expect(before).toBe((199 * 200) / 2);
    expect(await verify(trail)).toMatchObject({ ok: true, records: trail.head.seq });
    await trail.close();
    const again = await openTrail(dir);
    // Only the last file was read.
    expect(again.restored).toEqual([JSON.parse(files.at(-1)?.lines[0] ?? "").snapshot]);
    expect(again.replayed.length).toBe((files.at(-1)?.lines.length ?? 0) - 1);
    expect(again.trail.head.seq).toBe(trail.head.seq + 1);
  });

  test("goes on with a long file if no snapshot can be made", async () => {
    const { trail, logger } = await createTrail(await trailFolder(), { limits: { segmentBytes: 2_000 } });
    await trail.close();
    const broken = await openTrail(trail.dir, {
      limits: { segmentBytes: 2_000 },
      snapshot: () => {
        throw new Error("no snapshot");
      },
    });
    for (let n = 0; n < 20; n++) await broken.trail.append(entryOf(n));
    expect(await filesOf(trail.dir)).toHaveLength(1);
    expect(broken.troubles).toEqual([]);
    expect(broken.logger.lines.filter(({ level }) => level === "error").length).toBeGreaterThan(0);
    expect(logger.lines).toEqual([]);
  });

  test("ends an epoch at `advance`, behind what was appended before, and only if something was written in it", async () => {
    const { trail } = await createTrail(await trailFolder());
    const appended = trail.append(entryOf(1));
    const advanced = trail.advance();
    const later = trail.append(entryOf(2));
    await Promise.all([appended, advanced, later]);
    await trail.advance();
    await trail.advance();
    const records = (await linesOf(trail.dir)).map((line) => JSON.parse(line));
    expect(records.map(({ op, epoch }) => [op, epoch])).toEqual([
      ["segment", 0],
      ["lease", 0],
      ["epoch", 0],
      ["lease", 1],
      ["epoch", 1],
    ]);
    expect((await readKey(trail.dir))?.epoch).toBe(2);
    expect(await verify(trail)).toMatchObject({ ok: true, records: 5 });
  });

  test("gives raw lines in pages across files, and streams every record", async () => {
    const { trail } = await createTrail(await trailFolder(), { limits: { segmentBytes: 3_000, epochRecords: 9 } });
    for (let n = 0; n < 50; n++) await trail.append(entryOf(n));
    const lines = await linesOf(trail.dir);
    const paged: string[] = [];
    for (let after = 0; ; ) {
      const page = await trail.records({ after, limit: 7 });
      if (page.length === 0) break;
      paged.push(...page);
      after = JSON.parse(page.at(-1) ?? "").seq;
    }
    expect(paged).toEqual(lines);
    for (const after of [0, 1, 13, 30, lines.length - 1, lines.length, 1_000])
      expect(await trail.records({ after, limit: 3 })).toEqual(lines.slice(after, after + 3));
    const seqs: number[] = [];
    for await (const { seq } of trail.scan()) seqs.push(seq);
    expect(seqs).toEqual(lines.map((_, i) => i + 1));
  });

  test("keeps an answer small enough to send, however long the snapshots and the records are", async () => {
    const snapshot = () => ({ much: "x".repeat(2_000_000) });
    const { trail } = await createTrail(await trailFolder(), { snapshot });
    const long = { ...entryOf(1), why: "y".repeat(5_000) };
    await Promise.all(Array.from({ length: 1_000 }, () => trail.append(long)));
    const page = await trail.records({ after: 0, limit: 1_000 });
    expect(page.join("").length).toBeLessThan(600_000);
    expect(page.length).toBeLessThan(1_000);
    expect(JSON.parse(page[0] ?? "").snapshot).toMatch(/left out/);
    const next = await trail.records({ after: page.length, limit: 1 });
    expect(JSON.parse(next[0] ?? "").seq).toBe(page.length + 1);
    await trail.close();
    expect((await openTrail(trail.dir)).restored).toEqual([snapshot()]);
  });

  test("writes what waits before it is closed, and takes nothing after", async () => {
    const dir = await trailFolder();
    const { trail } = await createTrail(dir);
    const waiting = [trail.append(entryOf(1)), trail.append(entryOf(2))];
    await Promise.all([trail.close(), trail.close()]);
    await Promise.all(waiting);
    expect(await rejection(trail.append(entryOf(3)))).toMatchObject({ code: "SHUTTING_DOWN" });
    expect(await linesOf(dir)).toHaveLength(3);
  });

  test("removes what a crash left: a copy of an earlier key, and a second name of a file", async () => {
    const dir = await trailFolder();
    const { trail } = await createTrail(dir);
    await trail.close();
    const strays = ["trail.key.123.abc.tmp", "00000001.jsonl.tmp"];
    for (const name of strays) await writeFile(join(dir, name), "left", { mode: 0o600 });
    await openTrail(dir);
    expect((await readdir(dir)).sort()).toEqual(["00000001.jsonl", "trail.key"]);
  });

  test("refuses a snapshot that nobody can restore", async () => {
    const dir = await trailFolder();
    await (await createTrail(dir)).trail.close();
    const restore = () => {
      throw new Error("not a snapshot");
    };
    const opening = Trail.open({ ...quiet(dir), restore, replay: () => undefined });
    expect(await rejection(opening)).toMatchObject({
      code: "VAULT_DAMAGED",
      message: expect.stringContaining("record 1"),
    });
  });
});

function quiet(dir: string): TrailOptions {
  const ignore = () => undefined;
  return {
    dir,
    clock: new ManualClock(),
    logger: silentLogger,
    snapshot: () => ({}),
    onTrouble: ignore,
    onHealthy: ignore,
  };
}
