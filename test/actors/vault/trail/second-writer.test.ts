/** Two have the same trail open, by whatever mistake: neither takes away or writes over what the other has acknowledged. */
import { appendFile, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { verifyTrail } from "../../../../src/actors/vault/trail/verify.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { rejection, until } from "../../../support/wait.ts";
import { breakFiles, handlePrototype } from "./broken-files.ts";
import { createTrail, entryOf, FIRST, linesOf, openTrail, seed, trailFolder } from "./trails.ts";

describe("a second writer of the same trail", () => {
  /** Both had it open before the second wrote; the first has failed, and tries again each second. */
  async function twoWriters(dir: string, method: string, code: string) {
    const clock = new ManualClock();
    // Only who is about to write asks for precise numbers.
    const fault = await breakFiles(dir, method, code, (args) => method !== "stat" || args.length > 0);
    const first = await openTrail(dir, { clock });
    expect(fault.struck).toBeGreaterThan(0);
    expect(first.troubles).toHaveLength(1);
    fault.mend();
    const second = await openTrail(dir);
    await second.trail.append(entryOf(2));
    await second.trail.advance();
    await second.trail.append(entryOf(3));
    return { first, clock, second };
  }

  test.each<[string, string, string, (dir: string) => Promise<void>]>([
    ["whose first write was not synced", "datasync", "ENOSPC", async () => undefined],
    ["whose first write failed", "write", "ENOSPC", async () => undefined],
    ["that found a torn end", "truncate", "EIO", (dir) => appendFile(join(dir, FIRST), '{"seq":3,"at":1')],
    ["that could not open the file", "stat", "EMFILE", async () => undefined],
    [
      "that found a torn end and could not open",
      "stat",
      "EMFILE",
      (dir) => appendFile(join(dir, FIRST), '{"seq":3,"at":1'),
    ],
    ["that could not replace the key of an epoch", "writeFile", "ENOSPC", async () => undefined],
  ])("keeps all that it has acknowledged from one %s", async (_what, method, code, spoil) => {
    const dir = await trailFolder();
    const { trail } = await createTrail(dir);
    await trail.append(entryOf(1));
    await trail.close();
    await spoil(dir);
    const { first, clock, second } = await twoWriters(dir, method, code);
    const files = async () => [
      await readFile(join(dir, FIRST), "utf8"),
      await readFile(join(dir, "trail.key"), "utf8"),
    ];
    const before = await files();
    for (let probe = 0; probe < 3; probe++) {
      await until(() => clock.armed === 1);
      await clock.advance(1_000);
    }
    await until(() => clock.armed === 1);
    expect(await files()).toEqual(before);
    expect(first.healthy).toBe(0);
    expect(await rejection(first.trail.append(entryOf(4)))).toMatchObject({ code: "AUDIT_FAILED" });
    await first.trail.close();
    await second.trail.append(entryOf(5));
    expect(second.troubles).toEqual([]);
    expect(await verifyTrail({ trail: second.trail, seed: seed(), checkpoints: [] })).toMatchObject({ ok: true });
    await second.trail.close();
    expect((await openTrail(dir)).replayed.flatMap(({ detail }) => detail?.["n"] ?? [])).toEqual([1, 2, 3, 5]);
  });

  test("may write the very bytes that the first failed to write", async () => {
    const dir = await trailFolder();
    await (await createTrail(dir)).trail.close();
    const clock = new ManualClock();
    const fault = await breakFiles(dir, "datasync", "ENOSPC");
    await openTrail(dir, { clock });
    expect(fault.struck).toBeGreaterThan(0);
    fault.mend();
    // At the same time by the clock, so that its record of the start is the same.
    const second = await openTrail(dir, { clock: new ManualClock() });
    await until(() => clock.armed === 1);
    await clock.advance(1_000);
    await until(() => clock.armed === 1);
    await second.trail.append(entryOf(1));
    expect(await verifyTrail({ trail: second.trail, seed: seed(), checkpoints: [] })).toMatchObject({ ok: true });
  });

  test("that began a new file keeps the one before it from being written on", async () => {
    const dir = await trailFolder();
    const { trail } = await createTrail(dir);
    await trail.append(entryOf(1));
    await trail.advance();
    await trail.close();
    const first = await openTrail(dir);
    const size = (await stat(join(dir, FIRST))).size;
    const second = await openTrail(dir, { limits: { segmentBytes: 1 } });
    await second.trail.append(entryOf(2));
    expect((await stat(join(dir, FIRST))).size).toBe(size);
    expect(await rejection(first.trail.append(entryOf(3)))).toMatchObject({
      code: "AUDIT_FAILED",
      message: expect.stringContaining("00000002.jsonl"),
    });
    expect((await stat(join(dir, FIRST))).size).toBe(size);
    await second.trail.append(entryOf(4));
    expect(await verifyTrail({ trail: second.trail, seed: seed(), checkpoints: [] })).toMatchObject({ ok: true });
  });

  test("at the same moment writes over nothing", async () => {
    const dir = await trailFolder();
    const { trail: made } = await createTrail(dir);
    await made.advance();
    await made.close();
    const [first, second] = [await openTrail(dir), await openTrail(dir)];
    const prototype = await handlePrototype(join(dir, FIRST));
    const { write } = prototype;
    if (write === undefined) throw new Error("no write");
    const restore = (): void => {
      prototype["write"] = write;
    };
    onTestFinished(restore);
    // The second writes between the first's look at the file and its write.
    let between: Promise<unknown> | undefined;
    prototype["write"] = async function (this: unknown, ...args: never[]) {
      restore();
      between = second.trail.append(entryOf(2));
      await between;
      return await write.apply(this, args);
    };
    expect(await rejection(first.trail.append(entryOf(1)))).toMatchObject({ code: "AUDIT_FAILED" });
    await between;
    const lines = await linesOf(dir);
    expect(lines.map((line) => JSON.parse(line).detail?.n ?? "")).toContain(2);
  });
});
