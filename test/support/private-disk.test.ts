import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { temporaryDirectory } from "./home.ts";
import { PrivateDisk } from "./private-disk.ts";
import { describeWith } from "./require.ts";

describeWith("mount", PrivateDisk.missing())("a small disk", () => {
  it("is full when it is filled, has room again when it is emptied, and is seen by what enters only", async () => {
    const dir = join(await temporaryDirectory(), "disk");
    mkdirSync(dir);
    const disk = await PrivateDisk.mount(dir, 1);
    let files = 0;
    const write = (): number | null => {
      const [file = "", ...args] = disk.enter(["sh", "-c", `echo hello > "${dir}/${files++}"`]);
      return spawnSync(file, args).status;
    };
    expect(write()).toBe(0);
    disk.fill();
    expect([disk.free, write()]).toEqual([0, 1]);
    disk.empty();
    expect(disk.free).toBeGreaterThan(900_000);
    expect(write()).toBe(0);
    expect(readdirSync(dir)).toEqual([]);
    await disk.close();
  });
});
