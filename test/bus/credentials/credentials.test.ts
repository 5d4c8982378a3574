import { chmod, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readUser, writeUser } from "../../../src/bus/credentials/user-records.ts";
import { openHome } from "../../../src/bus/home/home.ts";
import { VgasError } from "../../../src/protocols/errors.ts";
import { connectAs, nextLine, runFixture, startBroker, temporaryHome } from "../../support/home.ts";

describe("credentials", () => {
  it("keeps every seed in a file of mode 0600 and shows it nowhere else", async () => {
    const home = await temporaryHome();
    await home.credentials.prepare();
    await home.credentials.issueNode("worker", "nabc");
    const files = (await readdir(home.layout.credentials)).filter((name) => /\.(nk|json)$/.test(name)).sort();
    expect(files).toEqual(
      [
        "canary.nk",
        ...["admin", "client", "nabc", "observer", "system"].flatMap((user) => [`${user}.json`, `${user}.nk`]),
      ].sort(),
    );
    for (const name of files) expect((await stat(join(home.layout.credentials, name))).mode & 0o777).toBe(0o600);
    const { seed } = await home.credentials.read("nabc");
    const secret = new TextDecoder().decode(seed);
    expect(secret).toMatch(/^SU[A-Z2-7]{56}$/);
    for (const file of [home.layout.nats.accounts, join(home.layout.credentials, "nabc.json")]) {
      expect(await readFile(file, "utf8")).not.toContain(secret);
    }
  });

  it("gives a role, and a node, the same credential each time it is asked", async () => {
    const home = await temporaryHome();
    const again = await openHome(home.dir);
    expect(await again.credentials.ensureRole("client")).toEqual(await home.credentials.ensureRole("client"));
    expect(await home.credentials.issue("client")).toEqual(await home.credentials.read("client"));
    const node = await home.credentials.issue("worker");
    expect(node.user).toMatch(/^n[a-z2-7]{9}$/);
    expect(node.inboxPrefix).toBe(`_INBOX.${node.user}`);
    expect(await again.credentials.issueNode("worker", node.user)).toEqual(node);
  });

  it("gives a node with another role another key, and the old one ends", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const worker = await home.credentials.issueNode("worker", "nabc");
    const dispatcher = await home.credentials.issueNode("dispatcher", "nabc");
    await connectAs(url, dispatcher);
    await expect(connectAs(url, worker)).rejects.toThrow(/Authorization Violation/);
  });

  it("refuses a host id that is no token or the name of a role", async () => {
    const home = await temporaryHome();
    for (const hostId of ["a.b", "", "*", "system", "client", "worker", "guest", "canary", "x".repeat(65)]) {
      await expect(home.credentials.issueNode("worker", hostId)).rejects.toMatchObject({ code: "INVALID" });
    }
    await expect(home.credentials.revoke("system")).rejects.toMatchObject({ code: "INVALID" });
    await expect(home.credentials.revoke("nobody")).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(home.credentials.read("../node")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("loses none when two processes issue at the same time, and each works at once", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const issuers = [runFixture("issue", home.dir, "5"), runFixture("issue", home.dir, "5")];
    const issued = (await Promise.all(issuers.map(nextLine))).flatMap(({ users }) => users as string[]);
    expect(new Set(issued).size).toBe(10);
    for (const user of issued) await connectAs(url, await home.credentials.read(user));
  });

  it("finishes a revocation that was cut short, and does not reuse the key", async () => {
    const home = await temporaryHome();
    const before = await home.credentials.ensureRole("client");
    const record = await readUser(home.layout.credentials, "client");
    if (record === undefined) throw new Error("client has no record");
    await writeUser(home.layout.credentials, { ...record, revokedAt: 1 });
    await expect(home.credentials.read("client")).rejects.toMatchObject({ code: "NOT_FOUND" });
    const { url } = await startBroker(home);
    const after = await home.credentials.read("client");
    expect(after.seed).not.toEqual(before.seed);
    await connectAs(url, after);
    await expect(connectAs(url, before)).rejects.toThrow(/Authorization Violation/);
  });

  it("finishes the revocation of a node that was cut short, and never gives that name out again", async () => {
    const home = await temporaryHome();
    const node = await home.credentials.issueNode("worker", "nabc");
    const record = await readUser(home.layout.credentials, "nabc");
    if (record === undefined) throw new Error("nabc has no record");
    await writeUser(home.layout.credentials, { ...record, revokedAt: 1 });
    const { url } = await startBroker(home);
    await expect(connectAs(url, node)).rejects.toThrow(/Authorization Violation/);
    expect(await readdir(home.layout.credentials)).not.toContain("nabc.nk");
    await expect(home.credentials.issueNode("worker", "nabc")).rejects.toMatchObject({ code: "NODE_REVOKED" });
  });

  it("refuses a seed that others can read, or that is none, without quoting it", async () => {
    const home = await temporaryHome();
    const { seedFile } = await home.credentials.ensureRole("client");
    await chmod(seedFile, 0o644);
    await expect(home.credentials.read("client")).rejects.toThrow(/chmod 600/);
    await chmod(seedFile, 0o600);
    await writeFile(seedFile, "SUSECRET");
    const error = await home.credentials.read("client").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(VgasError);
    expect(String(error)).not.toContain("SUSECRET");
  });

  it("makes permissions for the prefix of the home's owner, whoever issues", async () => {
    const home = await temporaryHome("other");
    await home.lock();
    await home.credentials.prepare();
    const guest = await openHome(home.dir);
    await guest.credentials.issueNode("worker");
    const users = await readFile(home.layout.nats.accounts, "utf8");
    expect(users).toContain('"other.results.*.*"');
    expect(users).not.toContain('"vgas.');
  });
});
