import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import {
  askedPath,
  askedSwarm,
  askingKey,
  type Membership,
  noteAskedSwarm,
  readMembership,
  removeMembership,
  updateAddresses,
  writeMembership,
} from "../../../src/bus/home/membership.ts";
import { temporaryHome } from "../../support/home.ts";

const FACTS = {
  swarmId: "abcdefghij",
  pin: "p".repeat(43),
  prefix: "vgas",
  user: "n1",
  role: "worker",
  urls: ["tls://10.0.0.1:4222"],
  doors: ["10.0.0.1:8080"],
  ca: "-----BEGIN CERTIFICATE-----\n",
  serverName: "abcdefghij.vgas.internal",
  inboxPrefix: "_INBOX.n1",
  vaultKey: `U${"A".repeat(55)}`,
} as const satisfies Omit<Membership, "seed">;

describe("membership", () => {
  test("reads back what was written, keeps it private, and lets addresses change", async () => {
    const { layout } = await temporaryHome();
    expect(await readMembership(layout)).toBeUndefined();
    await expect(updateAddresses(layout, FACTS)).rejects.toMatchObject({ code: "NOT_FOUND" });
    const { seed } = await askingKey(layout);
    await writeMembership(layout, { ...FACTS, seed });
    expect(await readMembership(layout)).toEqual({ ...FACTS, seed });
    for (const path of [layout.membership.record, layout.membership.seed]) {
      expect((await stat(path)).mode & 0o777).toBe(0o600);
    }
    const moved = { urls: ["tls://10.0.0.2:4222"], doors: ["10.0.0.2:8080"] };
    await updateAddresses(layout, moved);
    expect(await readMembership(layout)).toEqual({ ...FACTS, ...moved, seed });
    await removeMembership(layout);
    await removeMembership(layout);
    expect(await readMembership(layout)).toBeUndefined();
  });

  test("the key that asks stays the same until it is the membership's; the next question has another", async () => {
    const { layout } = await temporaryHome();
    const key = await askingKey(layout);
    expect(await askingKey(layout)).toEqual(key);
    expect(key.publicKey).toMatch(/^U[A-Z2-7]{55}$/);
    await writeMembership(layout, { ...FACTS, seed: key.seed });
    expect((await askingKey(layout)).publicKey).not.toBe(key.publicKey);
  });

  test("the swarm that was asked is known until the home is a member, or is told to forget", async () => {
    const { layout } = await temporaryHome();
    expect(await askedSwarm(layout)).toBeUndefined();
    const swarm = { swarmId: FACTS.swarmId, pin: FACTS.pin };
    const { seed } = await askingKey(layout);
    for (const forget of [() => removeMembership(layout), () => writeMembership(layout, { ...FACTS, seed })]) {
      await noteAskedSwarm(layout, swarm);
      expect(await askedSwarm(layout)).toEqual(swarm);
      await forget();
      expect(await askedSwarm(layout)).toBeUndefined();
    }
    await writeFile(askedPath(layout), "{");
    await expect(askedSwarm(layout)).rejects.toMatchObject({ code: "CONFIG" });
  });

  test("a home that is cut off while a membership is replaced is a member of none, with the key that it asked with", async () => {
    const { layout } = await temporaryHome();
    await writeMembership(layout, { ...FACTS, seed: (await askingKey(layout)).seed });
    const next = await askingKey(layout);
    await rm(layout.membership.record);
    expect(await readMembership(layout)).toBeUndefined();
    expect(await askingKey(layout)).toEqual(next);
  });

  test.each(["seed", "caCertificate", "record"] as const)("says that it is damaged where %s is", async (part) => {
    const { layout } = await temporaryHome();
    const { seed } = await askingKey(layout);
    await writeMembership(layout, { ...FACTS, seed });
    const other = await askingKey(layout);
    if (part === "seed") await writeFile(layout.membership.seed, other.seed);
    else if (part === "record") await writeFile(layout.membership.record, "{}");
    else await rm(layout.membership.caCertificate);
    await expect(readMembership(layout)).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("damaged"),
    });
    expect(await readFile(layout.membership.seed, "utf8")).toContain("SU");
  });
});
