import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, test } from "vitest";
import { isFull, storeRoom } from "../../../src/bus/nats-server/store-room.ts";
import { temporaryDirectory } from "../../support/home.ts";
import { describeWith } from "../../support/require.ts";
import { SmallDisk, smallDiskMissing } from "../../support/small-disk.ts";

test("a store with room has no trouble, and nothing is left of the try", async () => {
  const dir = await temporaryDirectory();
  for (const write of [true, false])
    expect(await storeRoom(dir, { write })).toEqual({ freeBytes: expect.any(Number), trouble: undefined });
  expect(readdirSync(dir)).toEqual([]);
});

test("a store that cannot be written says so where it is tried, and only there", async () => {
  const file = join(await temporaryDirectory(), "store");
  writeFileSync(file, "");
  expect((await storeRoom(file, { write: true })).trouble).toContain(`write to ${file}`);
  expect((await storeRoom(file, { write: false })).trouble).toBeUndefined();
});

test("before the first start there is no store, and that is no trouble", async () => {
  const dir = join(await temporaryDirectory(), "store");
  expect(await storeRoom(dir, { write: true })).toEqual({ freeBytes: undefined, trouble: undefined });
  expect(existsSync(dir)).toBe(false);
});

test("a disk is full when it has no room for the largest message; of one that says nothing that is not known", () => {
  expect([2 ** 20 - 1, 2 ** 20, undefined].map((freeBytes) => isFull({ freeBytes }))).toEqual([true, false, false]);
});

describeWith("mount", smallDiskMissing())("a store on a small disk", () => {
  it("is in trouble while there is less room than a broker needs to start", async () => {
    const disk = new SmallDisk(6 * 2 ** 20);
    expect(await storeRoom(disk.dir, { write: true })).toMatchObject({ trouble: undefined });
    writeFileSync(join(disk.dir, "some"), Buffer.alloc(3 * 2 ** 20));
    const { freeBytes, trouble } = await storeRoom(disk.dir, { write: true });
    expect(freeBytes).toBe(3 * 2 ** 20);
    expect(trouble).toBe(`the disk of ${disk.dir} is full (3.0 MiB are left): free some space`);
    disk.fill();
    expect((await storeRoom(disk.dir, { write: true })).trouble).toContain("no space is left on that disk");
    expect(readdirSync(disk.dir).sort()).toEqual(["filling", "some"]);
  });
});
