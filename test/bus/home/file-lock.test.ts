import { readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FileLock } from "../../../src/bus/home/file-lock.ts";
import { kill, nextLine, runFixture, temporaryDirectory } from "../../support/home.ts";

const PROCESSES = 6;

/** That many processes, ready to try, told to at the same moment; what each said. */
async function race(dir: string): Promise<{ winners: unknown[]; holders: unknown[] }> {
  const fixtures = Array.from({ length: PROCESSES }, () => runFixture("lock", dir));
  for (const fixture of fixtures) await nextLine(fixture);
  for (const { child } of fixtures) child.stdin?.write("go\n");
  const said = await Promise.all(fixtures.map(nextLine));
  const winners = said.filter((line) => "won" in line).map(({ won }) => won);
  const holders = said.filter((line) => "holder" in line).map(({ holder }) => holder);
  await Promise.all(fixtures.map(({ child }) => kill(child)));
  return { winners, holders };
}

/** Rewrites the only generation as one of another container, last touched so long ago. */
async function makeForeign(dir: string, ageMs: number): Promise<void> {
  const path = join(dir, "1");
  const record = JSON.parse(await readFile(path, "utf8"));
  record.owner = { ...record.owner, machine: "elsewhere", boot: "another", namespace: "pid:[1]" };
  await writeFile(path, JSON.stringify(record));
  const touched = new Date(Date.now() - ageMs);
  await utimes(path, touched, touched);
}

describe("a lock between processes", () => {
  it("goes to exactly one of several at once, and again when that one was killed", async () => {
    const dir = await temporaryDirectory();
    for (let round = 0; round < 2; round++) {
      const { winners, holders } = await race(dir);
      expect(winners).toHaveLength(1);
      expect(holders).toEqual(Array.from({ length: PROCESSES - 1 }, () => winners[0]));
    }
  });

  it("is given back, and keeps only its last generations", async () => {
    const dir = await temporaryDirectory();
    for (let round = 1; round <= 20; round++) {
      const lock = await FileLock.tryAcquire(dir);
      if (!(lock instanceof FileLock)) throw new Error("the lock was not given back");
      expect(await FileLock.tryAcquire(dir)).toMatchObject({ pid: process.pid, visible: true });
      await lock.release();
    }
    expect((await readdir(dir)).map(Number).sort((a, b) => a - b)).toEqual([16, 17, 18, 19, 20]);
  });

  it("takes turns among those that wait", async () => {
    const dir = await temporaryDirectory();
    let inside = 0;
    let most = 0;
    const turns = Array.from({ length: 5 }, async () => {
      const lock = await FileLock.acquire(dir, "testing", 30_000);
      inside++;
      most = Math.max(most, inside);
      await readdir(dir);
      inside--;
      await lock.release();
    });
    await Promise.all(turns);
    expect(most).toBe(1);
  });

  it("names operation and holder when its turn does not come", async () => {
    const dir = await temporaryDirectory();
    const lock = await FileLock.acquire(dir, "testing", 0);
    await expect(FileLock.acquire(dir, "issuing x", 0)).rejects.toMatchObject({
      code: "TIMEOUT",
      message: expect.stringMatching(new RegExp(`^issuing x timed out after 0 ms: process ${process.pid} `)),
    });
    await lock.release();
  });

  it("leaves an owner that it cannot see alone until it stops touching its generation", async () => {
    const dir = await temporaryDirectory();
    const lock = await FileLock.acquire(dir, "testing", 0);
    await makeForeign(dir, 20_000);
    expect(await FileLock.tryAcquire(dir)).toMatchObject({ machine: "elsewhere", visible: false });
    await makeForeign(dir, 40_000);
    const next = await FileLock.tryAcquire(dir);
    expect(next).toBeInstanceOf(FileLock);
    await lock.release();
    expect(await FileLock.tryAcquire(dir)).toMatchObject({ pid: process.pid });
  });

  it("says which file is damaged rather than guessing who owns it", async () => {
    const dir = await temporaryDirectory();
    await writeFile(join(dir, "7"), "");
    await expect(FileLock.tryAcquire(dir)).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining(join(dir, "7")),
    });
  });
});
