import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { chmod, copyFile, readFile, rm, stat, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { ensureAuthority } from "../../../src/bus/certificates/authority.ts";
import {
  ensureServerCertificate,
  type ServerCertificate,
  type WantedNames,
} from "../../../src/bus/certificates/server-certificate.ts";
import { type HomeLayout, layoutOf } from "../../../src/bus/home/layout.ts";
import { temporaryDirectory } from "../../support/home.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { rejection } from "../../support/wait.ts";

const DAY_MS = 24 * 3_600_000;
const wanted: WantedNames = { names: ["Host_1", "n1.local"], addresses: ["192.0.2.7", "2001:db8::7", "fe80::1%eth0"] };

async function emptyHome(): Promise<HomeLayout> {
  return layoutOf(await temporaryDirectory());
}

function leafOf({ certificatePem }: ServerCertificate): X509Certificate {
  return new X509Certificate(certificatePem);
}

test("is for the swarm's name, the machine's names and addresses and loopback, and kept privately with its authority", async () => {
  const layout = await emptyHome();
  const made = await ensureServerCertificate(layout, wanted);
  const { serverName, caPem } = await ensureAuthority(layout);
  const leaf = leafOf(made);
  expect(leaf.ca).toBe(false);
  expect(leaf.subject).toBe(`CN=${serverName}`);
  for (const name of [serverName, "localhost", "host_1", "n1.local"]) expect(leaf.checkHost(name)).toBe(name);
  for (const address of ["127.0.0.1", "::1", "192.0.2.7", "2001:db8::7"]) expect(leaf.checkIP(address)).toBe(address);
  expect(leaf.checkIP("192.0.2.8")).toBeUndefined();
  expect(leaf.subjectAltName).not.toMatch(/FE80/i);
  expect(made.certificatePem.endsWith(caPem)).toBe(true);
  expect(made).toMatchObject({ renewed: true, notAfter: Date.parse(leaf.validTo), reason: "there was none" });
  for (const file of [layout.authority.serverCertificate, layout.authority.serverKey]) {
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  }
  expect(await readFile(layout.authority.serverKey, "utf8")).toBe(made.keyPem);
  const { reason: _, ...same } = made;
  expect(await ensureServerCertificate(layout, wanted)).toEqual({ ...same, renewed: false });
});

test("holds for another implementation of X.509", async () => {
  const layout = await emptyHome();
  await ensureServerCertificate(layout, wanted);
  const { serverName } = await ensureAuthority(layout);
  const { caCertificate, serverCertificate } = layout.authority;
  const how = ["-x509_strict", "-purpose", "sslserver", "-verify_hostname", serverName];
  const { stdout } = await promisify(execFile)("openssl", [
    "verify",
    ...how,
    "-CAfile",
    caCertificate,
    serverCertificate,
  ]);
  expect(stdout).toMatch(/: OK$/m);
});

test("what a certificate cannot hold is left out, and what is no address is refused", async () => {
  const layout = await emptyHome();
  const names = ["my mac", "-x", "", "a".repeat(64), "192.0.2.9", "ok"];
  const leaf = leafOf(await ensureServerCertificate(layout, { names, addresses: [] }));
  expect(leaf.subjectAltName?.match(/DNS:/g)).toHaveLength(3);
  expect((await ensureServerCertificate(layout, { names, addresses: [] })).renewed).toBe(false);
  expect(await rejection(ensureServerCertificate(layout, { names: [], addresses: ["here"] }))).toMatchObject({
    code: "INVALID",
  });
});

test.each([
  ["names", { ...wanted, names: ["other"] }],
  ["addresses", { ...wanted, addresses: ["192.0.2.8"] }],
] as const)("is made anew when the machine has other %s, and not when it has fewer", async (_, other) => {
  const layout = await emptyHome();
  const first = await ensureServerCertificate(layout, wanted);
  expect((await ensureServerCertificate(layout, { names: [], addresses: [] })).renewed).toBe(false);
  const second = await ensureServerCertificate(layout, other);
  expect(second).toMatchObject({
    renewed: true,
    reason: expect.stringMatching(/^it was not for (other|192\.0\.2\.8)$/),
  });
  expect(second.keyPem).not.toBe(first.keyPem);
});

test("is made anew with a third of its life left, when it has ended, and when it comes from the future", async () => {
  const layout = await emptyHome();
  const clock = new ManualClock();
  const renewedAt = async (days: number): Promise<string | undefined> => {
    clock.wallOffset = start + days * DAY_MS;
    return (await ensureServerCertificate(layout, wanted, clock)).reason;
  };
  const start = clock.now();
  expect(await renewedAt(0)).toBe("there was none");
  expect(await renewedAt(260)).toBeUndefined();
  expect(await renewedAt(265)).toMatch(/^it ends at/);
  expect(await renewedAt(265 + 400)).toMatch(/^it ended at/);
  expect(await renewedAt(10)).toMatch(/after the time of this machine's clock/);
  expect(await renewedAt(10)).toBeUndefined();
});

test("does not outlive its authority", async () => {
  const layout = await emptyHome();
  const clock = new ManualClock();
  const authority = await ensureAuthority(layout, clock);
  clock.wallOffset += 3_600 * DAY_MS;
  const { notAfter } = await ensureServerCertificate(layout, wanted, clock);
  expect(notAfter).toBe(Date.parse(new X509Certificate(authority.caPem).validTo));
});

test("is made anew when a file is missing, damaged, half written, or of another authority", async () => {
  const [layout, foreign] = [await emptyHome(), await emptyHome()];
  await ensureServerCertificate(layout, wanted);
  await ensureServerCertificate(foreign, wanted);
  const { serverCertificate, serverKey } = layout.authority;
  const breakages: [() => Promise<void>, string][] = [
    [() => rm(serverCertificate), "there was none"],
    [() => rm(serverKey), "its key is missing"],
    [() => writeFile(serverCertificate, "garbage"), "its file is damaged"],
    [() => writeFile(serverKey, "garbage"), "its file is damaged"],
    // As a crash between the two leaves them.
    [() => copyFile(foreign.authority.serverKey, serverKey), "its key is another one's"],
    [
      async () => {
        await copyFile(foreign.authority.serverKey, serverKey);
        await copyFile(foreign.authority.serverCertificate, serverCertificate);
      },
      "it is of another authority",
    ],
    [
      async () => {
        const text = await readFile(serverCertificate, "utf8");
        await writeFile(serverCertificate, text.slice(0, text.indexOf("-----END") + 25));
      },
      "its file is damaged",
    ],
  ];
  for (const [damage, reason] of breakages) {
    await damage();
    expect(await ensureServerCertificate(layout, wanted)).toMatchObject({ renewed: true, reason });
    expect((await ensureServerCertificate(layout, wanted)).renewed).toBe(false);
  }
});

test("several calls at once make one", async () => {
  const layout = await emptyHome();
  const all = await Promise.all([1, 2, 3].map(() => ensureServerCertificate(layout, wanted)));
  expect(all.filter(({ renewed }) => renewed)).toHaveLength(1);
  expect(new Set(all.map(({ certificatePem }) => certificatePem)).size).toBe(1);
});

test("a key that others can read is not used", async () => {
  const layout = await emptyHome();
  await ensureServerCertificate(layout, wanted);
  await chmod(layout.authority.serverKey, 0o644);
  expect(await rejection(ensureServerCertificate(layout, wanted))).toMatchObject({
    code: "CONFIG",
    message: expect.stringContaining("chmod 600"),
  });
});
