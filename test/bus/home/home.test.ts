import { chmod, mkdir, open, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { diskError, writeWhole } from "../../../src/bus/home/files.ts";
import { openHome } from "../../../src/bus/home/home.ts";
import { readNodeIdentity } from "../../../src/bus/home/node-identity.ts";
import { temporaryDirectory, temporaryHome } from "../../support/home.ts";

describe("a home", () => {
  it("is made private, whatever the umask", async () => {
    const before = process.umask(0);
    try {
      const home = await openHome(join(await temporaryDirectory(), "new", "home"));
      for (const dir of [home.dir, home.layout.credentials, home.layout.nats.dir, home.layout.nats.store]) {
        expect((await stat(dir)).mode & 0o777).toBe(0o700);
      }
      expect((await stat(home.layout.node)).mode & 0o777).toBe(0o600);
    } finally {
      process.umask(before);
    }
  });

  it("has one host id for all that open it at once, and for ever", async () => {
    const dir = await temporaryDirectory();
    const homes = await Promise.all(Array.from({ length: 8 }, () => openHome(dir)));
    expect(new Set(homes.map(({ hostId }) => hostId)).size).toBe(1);
    expect((await openHome(dir)).hostId).toBe(homes[0]?.hostId);
    expect(homes[0]?.hostId).toMatch(/^n[a-z2-7]{9}$/);
  });

  it("is the same home by whatever path it is opened", async () => {
    const dir = await temporaryDirectory();
    const link = join(dir, "link");
    await mkdir(join(dir, "real"), { mode: 0o700 });
    await symlink(join(dir, "real"), link);
    expect((await openHome(link)).dir).toBe(join(dir, "real"));
  });

  it("belongs to one node: a second is told which process has it", async () => {
    const home = await temporaryHome();
    await home.lock();
    await home.lock();
    const second = await openHome(home.dir);
    await expect(second.lock()).rejects.toMatchObject({
      code: "HOME_IN_USE",
      message: expect.stringContaining(`process ${process.pid} `),
    });
    await home.release();
    await home.release();
    await second.lock();
    expect([home.locked, second.locked]).toEqual([false, true]);
    await second.release();
  });

  it("takes its owner's prefix, and keeps it for those that only open it", async () => {
    const home = await temporaryHome("one");
    const owner = await openHome(home.dir, { prefix: "two" });
    await openHome(home.dir, { prefix: "three" });
    expect((await readNodeIdentity(home.layout.node))?.prefix).toBe("one");
    await owner.lock();
    expect(await readNodeIdentity(home.layout.node)).toMatchObject({ prefix: "two", hostId: home.hostId });
    await owner.release();
  });

  it("is refused where other users can write", async () => {
    const dir = await temporaryDirectory();
    await chmod(dir, 0o770);
    await expect(openHome(dir)).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("chmod 700"),
    });
    await chmod(dir, 0o755);
    await openHome(dir);
  });

  it("is refused with a remedy if it is a file, lies below one, or its id is damaged", async () => {
    const dir = await temporaryDirectory();
    const file = join(dir, "file");
    await writeFile(file, "");
    await expect(openHome(file)).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("another --home"),
    });
    await expect(openHome(join(file, "x"))).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("is a file"),
    });
    await expect(openHome("bad\nname")).rejects.toMatchObject({ code: "CONFIG" });
    await expect(openHome(dir, { prefix: "a.b" })).rejects.toMatchObject({ code: "CONFIG" });
    await writeFile(join(dir, "node.json"), "{", { mode: 0o600 });
    await expect(openHome(dir)).rejects.toMatchObject({ code: "CONFIG", message: expect.stringContaining("damaged") });
  });

  it.runIf(process.platform === "linux")("says so when the system refuses, or the disk is full", async () => {
    await expect(openHome("/proc/vgas")).rejects.toMatchObject({ code: "CONFIG" });
    const full = await open("/dev/full", "w");
    const error = await full.writeFile("x").catch((thrown: unknown) => thrown);
    await full.close();
    expect(diskError(error, "write it")).toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("no space is left"),
    });
  });

  it("leaves the old content when a file cannot be written", async () => {
    const dir = await temporaryDirectory();
    await mkdir(join(dir, "taken"));
    await expect(writeWhole(join(dir, "taken"), "x")).rejects.toMatchObject({ code: "CONFIG" });
    await expect(writeWhole(join(dir, "missing", "f"), "x")).rejects.toMatchObject({ code: "CONFIG" });
  });
});
