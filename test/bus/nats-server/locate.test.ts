import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { locateNatsServer } from "../../../src/bus/nats-server/locate.ts";
import { temporaryDirectory } from "../../support/home.ts";

/** A program that answers `--version` as a nats-server of that version does. */
async function fakeServer(dir: string, version: string, name = "nats-server"): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, `#!/bin/sh\necho "nats-server: v${version}"\n`);
  await chmod(path, 0o755);
  return path;
}

async function record(dir: string, path: string): Promise<string> {
  const recordFile = join(dir, "nats-server.json");
  await writeFile(recordFile, JSON.stringify({ path, version: "whatever it says" }));
  return recordFile;
}

describe("locating a nats-server", () => {
  it("takes the named one first, then the one that set-up recorded, then PATH", async () => {
    const [named, recorded, onPath] = await Promise.all([1, 2, 3].map(temporaryDirectory));
    if (named === undefined || recorded === undefined || onPath === undefined) throw new Error("no directories");
    const paths = {
      named: await fakeServer(named, "2.14.0"),
      recorded: await fakeServer(recorded, "2.13.0-RC.1"),
      onPath: await fakeServer(onPath, "3.0.1"),
    };
    const recordFile = await record(recorded, paths.recorded);
    const env = { PATH: `${named}-missing:${onPath}:/usr/bin:/bin`, VGAS_NATS_SERVER: paths.named };
    expect(await locateNatsServer({ env, recordFile })).toEqual({ path: paths.named, version: "2.14.0" });
    const unnamed = { PATH: env.PATH };
    expect(await locateNatsServer({ env: unnamed, recordFile })).toEqual({
      path: paths.recorded,
      version: "2.13.0-RC.1",
    });
    const nowhere = join(recorded, "missing.json");
    expect(await locateNatsServer({ env: unnamed, recordFile: nowhere })).toEqual({
      path: paths.onPath,
      version: "3.0.1",
    });
  });

  it("skips one that is too old or gone, and says so with what to do when there is no other", async () => {
    const dir = await temporaryDirectory();
    await fakeServer(dir, "2.9.10");
    const recordFile = await record(dir, join(dir, "gone"));
    const error = await locateNatsServer({ env: { PATH: dir }, recordFile }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "BROKER_FAILED" });
    expect(String(error)).toMatch(/2\.9\.10, older than 2\.12\.0/);
    expect(String(error)).toMatch(/gone: it does not run/);
    expect(String(error)).toMatch(/npm run setup.*VGAS_NATS_SERVER/);
  });

  it.each(["2.11.99", "1.20.0"])("never falls back silently from a named one of version %s", async (version) => {
    const dir = await temporaryDirectory();
    const env = { PATH: dir, VGAS_NATS_SERVER: await fakeServer(dir, version, "old") };
    await fakeServer(dir, "2.15.0");
    await expect(locateNatsServer({ env })).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining(version),
    });
  });
});
