import { X509Certificate } from "node:crypto";
import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import {
  type Authority,
  ensureAuthority,
  readAuthority,
  serverNameOf,
} from "../../../src/bus/certificates/authority.ts";
import { makeAuthority } from "../../../src/bus/certificates/make.ts";
import type { HomeLayout } from "../../../src/bus/home/layout.ts";
import { layoutOf } from "../../../src/bus/home/layout.ts";
import { nextLine, runFixture, temporaryDirectory } from "../../support/home.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { rejection } from "../../support/wait.ts";

const DAY_MS = 24 * 3_600_000;

async function made(): Promise<{ layout: HomeLayout; authority: Authority }> {
  const layout = layoutOf(await temporaryDirectory());
  return { layout, authority: await ensureAuthority(layout) };
}

test("makes a swarm's id and authority once, privately, and finds them again", async () => {
  const { layout, authority } = await made();
  expect(authority.swarmId).toMatch(/^[a-z2-7]{10}$/);
  expect(authority.pin).toMatch(/^[A-Za-z0-9_-]{43}$/);
  expect(authority.serverName).toBe(serverNameOf(authority.swarmId));
  expect(await ensureAuthority(layout)).toEqual(authority);
  expect(await readAuthority(layout)).toEqual(authority);
  const { dir, swarm, caCertificate, caKey } = layout.authority;
  expect((await stat(dir)).mode & 0o777).toBe(0o700);
  for (const file of [swarm, caCertificate, caKey]) expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(JSON.parse(await readFile(swarm, "utf8"))).toEqual({
    v: 1,
    swarmId: authority.swarmId,
    createdAt: expect.any(Number),
  });
  expect(await readFile(caKey, "utf8")).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
  const certificate = new X509Certificate(authority.caPem);
  expect(certificate).toMatchObject({ ca: true, subject: `CN=vgas ${authority.swarmId}` });
  expect(certificate.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: "prime256v1" });
});

test("another home is another swarm, and a home without one is left as it is", async () => {
  const [one, two] = [await made(), await made()];
  expect(one.authority.swarmId).not.toBe(two.authority.swarmId);
  expect(one.authority.pin).not.toBe(two.authority.pin);
  const empty = layoutOf(await temporaryDirectory());
  expect(await readAuthority(empty)).toBeUndefined();
  expect(await readdir(empty.dir)).toEqual([]);
});

test("two processes at once agree, and so do two calls", async () => {
  const dir = await temporaryDirectory();
  const rivals = [runFixture("authority", dir), runFixture("authority", dir)];
  const own = [ensureAuthority(layoutOf(dir)), ensureAuthority(layoutOf(dir))];
  const all = [...(await Promise.all(rivals.map(nextLine))), ...(await Promise.all(own))];
  expect(all.map(({ pin }) => pin)).toEqual(Array(4).fill(all[0]?.["pin"]));
  expect(all.map(({ swarmId }) => swarmId)).toEqual(Array(4).fill(all[0]?.["swarmId"]));
});

test.each(["swarm", "caCertificate"] as const)(
  "finishes what was cut short before its %s was written",
  async (file) => {
    const { layout, authority } = await made();
    if (file === "caCertificate") await rm(layout.authority.caCertificate);
    await rm(layout.authority.swarm);
    const after = await ensureAuthority(layout);
    // The certificate was on disk: it is the same swarm. A key alone was given to nobody: it is a new one.
    if (file === "swarm") expect(after).toEqual(authority);
    else expect(after.pin).not.toBe(authority.pin);
    expect(JSON.parse(await readFile(layout.authority.swarm, "utf8"))).toMatchObject({ swarmId: after.swarmId });
    expect(await ensureAuthority(layout)).toEqual(after);
  },
);

test.each([
  ["swarm", "garbage", "is damaged"],
  ["swarm", '{"v":1,"swarmId":"aaaaaaaaaa","createdAt":1}', "is of another swarm"],
  ["caCertificate", "garbage", "is damaged"],
  ["caCertificate", undefined, "is missing"],
  ["caKey", "garbage", "is damaged"],
  ["caKey", undefined, "is missing"],
] as const)(
  "a damaged %s (%s) is told with what deleting it means, and nothing is replaced",
  async (file, text, what) => {
    const { layout } = await made();
    const path = layout.authority[file];
    if (text === undefined) await rm(path);
    else await writeFile(path, text);
    const before = await readdir(layout.authority.dir);
    for (const call of [ensureAuthority, readAuthority]) {
      const error = await rejection(call(layout));
      expect(error).toMatchObject({ code: "CONFIG", message: expect.stringContaining(`${path} ${what}`) });
      expect(String(error)).toMatch(/every node and client has to be let in again/);
    }
    expect(await readdir(layout.authority.dir)).toEqual(before);
  },
);

test("the key of another authority is found", async () => {
  const [one, two] = [await made(), await made()];
  await writeFile(one.layout.authority.caKey, await readFile(two.layout.authority.caKey));
  expect(await rejection(readAuthority(one.layout))).toMatchObject({
    code: "CONFIG",
    message: expect.stringContaining(`${one.layout.authority.caKey} is not the key of`),
  });
});

test("an authority of nobody's swarm is refused", async () => {
  const { layout } = await made();
  const foreign = await makeAuthority("somebody", { fromMs: Date.now() - DAY_MS, untilMs: Date.now() + DAY_MS });
  await writeFile(layout.authority.caCertificate, foreign.certificatePem);
  await writeFile(layout.authority.caKey, foreign.keyPem);
  expect(await rejection(ensureAuthority(layout))).toMatchObject({
    code: "CONFIG",
    message: expect.stringContaining("is not the certificate of a swarm"),
  });
});

test("a clock that is far off is told, before and after the authority's time", async () => {
  const { layout, authority } = await made();
  const clock = new ManualClock();
  clock.wallOffset = Date.now() - 2 * DAY_MS;
  expect(await rejection(ensureAuthority(layout, clock))).toMatchObject({
    code: "CONFIG",
    message: expect.stringContaining("set the clock"),
  });
  clock.wallOffset = Date.now() + 9.9 * 365 * DAY_MS;
  expect(await ensureAuthority(layout, clock)).toEqual(authority);
  clock.wallOffset = Date.now() + 10.1 * 365 * DAY_MS;
  expect(await rejection(ensureAuthority(layout, clock))).toMatchObject({
    code: "CONFIG",
    message: expect.stringMatching(/ca\.crt ended at .*let in again/),
  });
});
