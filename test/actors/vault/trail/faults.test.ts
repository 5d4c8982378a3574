/** Crashes, full disks and files that vanish: what was acknowledged is there, and nothing else was (P11). */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, readFile, rename, stat, truncate, unlink } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { verifyTrail } from "../../../../src/actors/vault/trail/verify.ts";
import { kill } from "../../../support/home.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { programCommand } from "../../../support/programs.ts";
import { rejection, until } from "../../../support/wait.ts";
import { breakFiles, handlePrototype } from "./broken-files.ts";
import {
  copyOf,
  createTrail,
  entryOf,
  FIRST,
  filesOf,
  linesOf,
  openTrail,
  rewrite,
  seed,
  trailFolder,
} from "./trails.ts";

/** Trails that are opened side by side. */
const LANES = 8;

/** Starts the appender, below that limit of a file's size in KiB if there is one. */
function startAppender(dir: string, writers: number, limitKiB?: number): ChildProcess {
  const command = programCommand("appender", dir, String(writers));
  const limited =
    limitKiB === undefined ? command : ["bash", "-c", `ulimit -S -f ${limitKiB}; exec "$@"`, "bash", ...command];
  const [file = "", ...args] = limited;
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => kill(child));
  return child;
}

describe("after a crash in a write", () => {
  test("cuts off a torn end, at every byte of it, and says how many bytes it had", async () => {
    const dir = await trailFolder();
    const { trail } = await createTrail(dir);
    await trail.append(entryOf(1));
    const good = (await stat(join(dir, FIRST))).size;
    await trail.append(entryOf(2));
    await trail.close();
    const whole = await readFile(join(dir, FIRST));
    let next = good;
    const lane = async (): Promise<void> => {
      while (next < whole.length) await recover(next++);
    };
    const recover = async (size: number): Promise<void> => {
      const copy = await copyOf(dir);
      await truncate(join(copy, FIRST), size);
      const again = await openTrail(copy);
      expect(again.replayed.map(({ seq }) => seq)).toEqual([2]);
      await again.trail.append(entryOf(3));
      const ops = (await linesOf(copy)).map((line) => JSON.parse(line)).map(({ op, detail }) => [op, detail]);
      expect(ops.slice(2)).toEqual([
        ...(size > good ? [["recovered", { bytes: size - good }]] : []),
        ["epoch", { next: 1 }],
        ["lease", { n: 3 }],
      ]);
      expect(await verifyTrail({ trail: again.trail, seed: seed(), checkpoints: [] })).toMatchObject({ ok: true });
      await again.trail.close();
    };
    // Each mostly waits for the disk.
    await Promise.all(Array.from({ length: LANES }, lane));
    expect(next - good).toBeGreaterThan(100);
  });

  test("cuts off what a power failure leaves: holes within a write of several records", async () => {
    const dir = await trailFolder();
    const { trail } = await createTrail(dir);
    await trail.append(entryOf(1));
    const good = (await stat(join(dir, FIRST))).size;
    await Promise.all(Array.from({ length: 20 }, (_, n) => trail.append(entryOf(n))));
    await trail.close();
    const whole = await readFile(join(dir, FIRST));
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - good - 2), fc.integer({ min: 1, max: 4_096 }), async (from, length) => {
        const copy = await copyOf(dir);
        const holed = Buffer.from(whole).fill(0, good + from, Math.min(whole.length, good + from + length));
        await rewrite(copy, FIRST, holed);
        const again = await openTrail(copy);
        // Whole records before the hole are there, and in order.
        expect(again.replayed.map(({ seq }) => seq)).toEqual(again.replayed.map((_, i) => i + 2));
        expect(again.replayed.length).toBeLessThan(21);
        expect((await linesOf(copy)).some((line) => line.includes('"op":"recovered"'))).toBe(true);
        expect(await verifyTrail({ trail: again.trail, seed: seed(), checkpoints: [] })).toMatchObject({ ok: true });
        await again.trail.close();
      }),
      { numRuns: 25 },
    );
  });

  test("refuses a hole that no crash leaves: more than one write, or a head", async () => {
    const dir = await trailFolder();
    const { trail } = await createTrail(dir);
    await Promise.all(Array.from({ length: 9_000 }, (_, n) => trail.append(entryOf(n))));
    await trail.close();
    const whole = await readFile(join(dir, FIRST));
    for (const hole of [10, 1_000]) {
      await rewrite(dir, FIRST, Buffer.from(whole).fill(0, hole, hole + 1));
      expect(await rejection(openTrail(dir))).toMatchObject({
        code: "VAULT_DAMAGED",
        message: expect.stringContaining(FIRST),
      });
    }
  });

  test("goes on after a crash between the end of an epoch and its key", async () => {
    const dir = await trailFolder();
    const { trail } = await createTrail(dir);
    await trail.append(entryOf(1));
    const key = await readFile(join(dir, "trail.key"));
    await trail.advance();
    await trail.close();
    await rewrite(dir, "trail.key", key);
    const again = await openTrail(dir);
    await again.trail.append(entryOf(2));
    expect(await verifyTrail({ trail: again.trail, seed: seed(), checkpoints: [] })).toEqual({
      ok: true,
      records: 4,
      checkpoints: 0,
    });
  });

  test("has every record that was acknowledged before kill -9, again and again on the same files", async () => {
    const dir = await trailFolder();
    const acknowledged = new Map<number, number>();
    for (const [round, after] of [1, 300, 40, 700, 150].entries()) {
      const child = startAppender(dir, 8 * (round + 1));
      if (child.stdout === null) throw new Error("no output");
      const exited = once(child, "exit");
      let count = 0;
      for await (const line of createInterface({ input: child.stdout })) {
        const [seq, n] = line.split(" ").map(Number);
        acknowledged.set(seq ?? 0, n ?? 0);
        if (++count === after) child.kill("SIGKILL");
      }
      expect((await exited)[1]).toBe("SIGKILL");
      expect(count).toBeGreaterThanOrEqual(after);
    }
    const again = await openTrail(dir);
    expect(await verifyTrail({ trail: again.trail, seed: seed(), checkpoints: [] })).toMatchObject({ ok: true });
    const found = new Map<number, unknown>();
    for await (const { seq, detail } of again.trail.scan()) found.set(seq, detail?.["n"]);
    for (const [seq, n] of acknowledged) expect([seq, found.get(seq)]).toEqual([seq, n]);
    expect((await filesOf(dir)).length).toBeGreaterThan(2);
  });
});

describe("a trail that cannot be written", () => {
  test("acknowledges nothing on a disk that is really full, and goes on with what it had", async () => {
    const dir = await trailFolder();
    const child = startAppender(dir, 16, 20);
    if (child.stdout === null) throw new Error("no output");
    const acknowledged: number[] = [];
    let said = "";
    for await (const line of createInterface({ input: child.stdout })) {
      if (line.startsWith("failed")) said = line;
      else acknowledged.push(Number(line.split(" ")[0]));
    }
    const [, code, later, head, size] = said.split(" ");
    expect([code, later]).toEqual(["AUDIT_FAILED", "AUDIT_FAILED"]);
    expect(acknowledged.length).toBeGreaterThan(10);
    expect(Number(head)).toBeGreaterThanOrEqual(acknowledged.at(-1) ?? 0);
    // The part that did fit was taken away again.
    expect((await stat(join(dir, FIRST))).size).toBe(Number(size));
    const again = await openTrail(dir);
    const found = new Set<number>();
    for await (const { seq } of again.trail.scan()) found.add(seq);
    expect(acknowledged.filter((seq) => !found.has(seq))).toEqual([]);
    await again.trail.append(entryOf(1));
    expect(await verifyTrail({ trail: again.trail, seed: seed(), checkpoints: [] })).toMatchObject({ ok: true });
  });

  test.each([
    ["write", "ENOSPC"],
    ["write", "EROFS"],
    ["datasync", "EIO"],
  ])(
    "rejects what waits if %s fails with %s, probes each second, and says when it is well again",
    async (method, code) => {
      const clock = new ManualClock();
      const told = await createTrail(await trailFolder(), { clock });
      const { trail } = told;
      await trail.append(entryOf(1));
      const size = trail.position.size;
      const fault = await breakFiles(trail.dir, method, code);
      const refused = await Promise.all([2, 3, 4].map((n) => rejection(trail.append(entryOf(n)))));
      expect(refused.map((error) => (error as { code: string }).code)).toEqual(Array(3).fill("AUDIT_FAILED"));
      expect(refused[0]).toMatchObject({ message: expect.stringContaining(code), retryable: true });
      await until(() => told.troubles.length === 1);
      expect(trail.failure).toBe(told.troubles[0]);
      expect(await rejection(trail.append(entryOf(5)))).toMatchObject({ code: "AUDIT_FAILED" });
      expect(await rejection(trail.advance())).toMatchObject({ code: "AUDIT_FAILED" });
      for (let probes = 1; probes <= 2; probes++) {
        const before = fault.struck;
        await until(() => clock.armed === 1);
        await clock.advance(1_000);
        await until(() => fault.struck > before);
      }
      expect([told.troubles.length, told.healthy]).toEqual([1, 0]);
      await until(() => clock.armed === 1);
      fault.mend();
      await clock.advance(999);
      expect(told.healthy).toBe(0);
      await clock.advance(1);
      await until(() => told.healthy === 1);
      expect(trail.failure).toBeUndefined();
      await trail.append(entryOf(6));
      const records = (await linesOf(trail.dir)).map((line) => JSON.parse(line));
      expect(records.map(({ op, detail }) => [op, detail["n"] ?? detail])).toEqual([
        ["segment", { segment: 1 }],
        ["lease", 1],
        ["resumed", { failedMs: 3_000, refused: 5 }],
        ["lease", 6],
      ]);
      expect(trail.position.size).toBeGreaterThan(size);
      expect(await verifyTrail({ trail, seed: seed(), checkpoints: [] })).toMatchObject({ ok: true });
    },
  );

  test("trusts no file that was removed, replaced or changed, until the one that was there is back", async () => {
    const clock = new ManualClock();
    const told = await createTrail(await trailFolder(), { clock });
    const { trail } = told;
    await trail.append(entryOf(1));
    const path = join(trail.dir, FIRST);
    const away = `${path}.away`;
    const fail = async () => {
      const before = told.troubles.length;
      expect(await rejection(trail.append(entryOf(2)))).toMatchObject({ code: "AUDIT_FAILED" });
      await until(() => told.troubles.length === before + 1 && clock.armed === 1);
    };
    const heal = async () => {
      const before = told.healthy;
      await clock.advance(1_000);
      await until(() => told.healthy === before + 1);
      await trail.append(entryOf(3));
    };
    await rename(path, away);
    await fail();
    await rename(away, path);
    await heal();
    // A copy of it is as good: it ends with the same record.
    await copyFile(path, away);
    await unlink(path);
    await fail();
    await rename(away, path);
    await heal();
    // Another file is not, however often it is tried.
    await rename(path, away);
    const lines = (await readFile(away, "utf8")).split("\n");
    await rewrite(trail.dir, FIRST, `${lines.slice(0, 2).join("\n")}\n`);
    await fail();
    for (let probe = 0; probe < 3; probe++) {
      await clock.advance(1_000);
      await until(() => clock.armed === 1);
    }
    expect(told.healthy).toBe(2);
    expect(await rejection(trail.append(entryOf(2)))).toMatchObject({ code: "AUDIT_FAILED" });
    await rename(away, path);
    await heal();
    // Nor is one to which somebody else has added.
    const whole = await readFile(path);
    await rewrite(trail.dir, FIRST, Buffer.concat([whole, Buffer.from("{}\n")]));
    await fail();
    await truncate(path, whole.length);
    await heal();
    expect(await verifyTrail({ trail, seed: seed(), checkpoints: [] })).toMatchObject({ ok: true });
  });

  test("acknowledges nothing that was synced into a file that vanished meanwhile", async () => {
    const { trail } = await createTrail(await trailFolder());
    const path = join(trail.dir, FIRST);
    const prototype = await handlePrototype(path);
    const { datasync } = prototype;
    if (datasync === undefined) throw new Error("no datasync");
    const restore = (): void => {
      prototype["datasync"] = datasync;
    };
    onTestFinished(restore);
    prototype["datasync"] = async function (this: unknown) {
      restore();
      await datasync.call(this);
      await rename(path, `${path}.away`);
    };
    expect(await rejection(trail.append(entryOf(1)))).toMatchObject({
      code: "AUDIT_FAILED",
      message: expect.stringContaining("removed"),
    });
  });

  test.each([
    ["write", "ENOSPC"],
    ["datasync", "ENOSPC"],
  ])("is opened all the same if %s fails, says so, and goes on by itself", async (method, code) => {
    const dir = await trailFolder();
    const first = await createTrail(dir);
    await first.trail.append(entryOf(1));
    await first.trail.close();
    await truncate(join(dir, FIRST), (await stat(join(dir, FIRST))).size - 1);
    const clock = new ManualClock();
    const fault = await breakFiles(dir, method, code);
    const told = await openTrail(dir, { clock });
    expect(fault.struck).toBeGreaterThan(0);
    expect(told.troubles).toHaveLength(1);
    for (let probes = 0; probes < 2; probes++) {
      expect(await rejection(told.trail.append(entryOf(2)))).toMatchObject({ code: "AUDIT_FAILED" });
      await until(() => clock.armed === 1);
      await clock.advance(1_000);
    }
    expect([told.troubles.length, told.healthy]).toEqual([1, 0]);
    await until(() => clock.armed === 1);
    fault.mend();
    await clock.advance(1_000);
    await until(() => told.healthy === 1);
    await told.trail.append(entryOf(3));
    const ops = (await linesOf(dir)).map((line) => JSON.parse(line).op);
    expect(ops).toEqual(["segment", "recovered", "epoch", "resumed", "lease"]);
    expect(await verifyTrail({ trail: told.trail, seed: seed(), checkpoints: [] })).toMatchObject({ ok: true });
  });

  test("does not lose the end of an epoch whose key could not be replaced", async () => {
    const clock = new ManualClock();
    const told = await createTrail(await trailFolder(), { clock });
    const { trail } = told;
    const fault = await breakFiles(trail.dir, "writeFile", "ENOSPC");
    const appended = trail.append(entryOf(1));
    expect(await rejection(trail.advance())).toMatchObject({ code: "AUDIT_FAILED" });
    await appended;
    expect(fault.struck).toBeGreaterThan(0);
    await until(() => clock.armed === 1);
    fault.mend();
    await clock.advance(1_000);
    await until(() => told.healthy === 1);
    await trail.append(entryOf(2));
    const epochs = (await linesOf(trail.dir)).map((line) => JSON.parse(line)).map(({ op, epoch }) => [op, epoch]);
    expect(epochs).toEqual([
      ["segment", 0],
      ["lease", 0],
      ["epoch", 0],
      ["resumed", 1],
      ["lease", 1],
    ]);
    expect(await verifyTrail({ trail, seed: seed(), checkpoints: [] })).toMatchObject({ ok: true });
  });

  test("takes away what it left also where the disk has lost a part of it", async () => {
    const clock = new ManualClock();
    const told = await createTrail(await trailFolder(), { clock });
    const { trail } = told;
    const { size } = trail.position;
    const faults = [await breakFiles(trail.dir, "datasync", "EIO"), await breakFiles(trail.dir, "truncate", "EIO")];
    expect(await rejection(trail.append(entryOf(1)))).toMatchObject({ code: "AUDIT_FAILED" });
    for (const fault of faults) fault.mend();
    const left = await readFile(join(trail.dir, FIRST));
    expect(left.length).toBeGreaterThan(size + 20);
    await rewrite(trail.dir, FIRST, left.fill(0, size + 10, size + 20));
    await until(() => clock.armed === 1);
    await clock.advance(1_000);
    await until(() => told.healthy === 1);
    await trail.append(entryOf(2));
    expect(await verifyTrail({ trail, seed: seed(), checkpoints: [] })).toMatchObject({ ok: true });
  });

  test("can be closed while it fails, and a listener that throws breaks nothing", async () => {
    const clock = new ManualClock();
    const { trail } = await createTrail(await trailFolder(), {
      clock,
      onTrouble: () => {
        throw new Error("listener");
      },
    });
    await breakFiles(trail.dir, "write", "EIO");
    expect(await rejection(trail.append(entryOf(1)))).toMatchObject({ code: "AUDIT_FAILED" });
    await trail.close();
    expect(clock.armed).toBe(0);
    expect(await rejection(trail.append(entryOf(1)))).toMatchObject({ code: "SHUTTING_DOWN" });
  });
});
