import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { parseToken } from "../../src/admission/token.ts";
import { TokenStore } from "../../src/admission/token-store.ts";
import { readAuthority } from "../../src/bus/certificates/authority.ts";
import { readMembership } from "../../src/bus/home/membership.ts";
import { temporaryDirectory, temporaryHome } from "../support/home.ts";
import { NATS_PORT, startSwarmDoor } from "../support/swarm-door.ts";
import { run } from "./admission-cli.ts";

describe("vgas token", () => {
  test("create prints one line and nothing else, makes the authority, and says what is missing", async () => {
    const { dir, layout } = await temporaryHome();
    const { code, out, err } = await run(["token", "create", "--home", dir]);
    expect(code).toBe(0);
    const token = parseToken(out);
    expect(out.trim().split("\n")).toHaveLength(1);
    expect(token).toMatchObject((({ swarmId, pin }) => ({ swarmId, pin }))((await readAuthority(layout)) ?? token));
    expect(err).toContain("vgas up --lan");
    expect(err).not.toContain(token.secret);
    const record = await new TokenStore(layout).read(token.id);
    expect(record).toMatchObject({ role: "worker", uses: 1 });
    expect((record?.expiresAt ?? 0) - (record?.createdAt ?? 0)).toBe(24 * 3_600_000);
  });

  test("create takes role, time, uses and name; --json says them all", async () => {
    const { dir } = await temporaryHome();
    const flags = ["--role", "guest", "--ttl", "0", "--uses", "unlimited", "--name", "for ci", "--json"];
    const { out } = await run(["token", "create", ...flags, "--home", dir]);
    const made = JSON.parse(out) as Record<string, unknown>;
    const { swarmId, pin, id } = parseToken(String(made["token"]));
    expect(made).toEqual({ token: made["token"], id, role: "guest", uses: 0, swarm: swarmId, pin });
  });

  test("create --http makes one that opens HTTP and lets nobody in", async () => {
    const swarm = await startSwarmDoor();
    const where = ["--home", swarm.home.dir];
    const { out } = await run(["token", "create", "--http", "--json", ...where]);
    const { token, id, ...made } = JSON.parse(out) as { token: string; id: string };
    expect(made).toMatchObject({ role: "observer", http: true, uses: 0, expiresAt: expect.any(Number) });
    for (let i = 0; i < 2; i++) expect(await swarm.door.checkBearer(token)).toBeUndefined();
    const { dir } = await temporaryHome();
    const door = ["--no-mdns", "--peer", `127.0.0.1:${swarm.port}`, "--home", dir];
    const refused = await run(["connect", ...door], { VGAS_TOKEN: token });
    expect(refused).toMatchObject({ code: 77, err: expect.stringContaining("for HTTP alone") });
    expect((await run(["token", "list", ...where])).out).toMatch(new RegExp(`^${id} +http +usable`, "m"));
    for (const other of [
      ["--role", "client"],
      ["--uses", "2"],
    ]) {
      expect(await run(["token", "create", "--http", ...other, ...where])).toMatchObject({ code: 2, out: "" });
    }
  });

  test.each([
    ["--role", "admin"],
    ["--ttl", "soon"],
    ["--ttl", "4000d"],
    ["--uses", "-1"],
    ["--uses", "many"],
    ["--name", "a\nb"],
  ])("create refuses %s %o", async (flag, value) => {
    const { code, out, err } = await run(["token", "create", flag, value, "--home", await temporaryDirectory()]);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(flag);
  });

  test("list shows who used them and what has become of them; revoke ends one", async () => {
    const { dir, layout } = await temporaryHome();
    expect(await run(["token", "list", "--home", dir])).toMatchObject({ code: 0, out: "" });
    const first = parseToken((await run(["token", "create", "--uses", "2", "--name", "first", "--home", dir])).out);
    const second = parseToken((await run(["token", "create", "--role", "client", "--home", dir])).out);
    const store = new TokenStore(layout);
    await store.use(second.id, { asked: "c1", publicKey: "k" }, () => "c1");
    const revoked = await run(["token", "revoke", first.id, "--home", dir]);
    expect(revoked).toMatchObject({ code: 0, out: "" });
    const { out } = await run(["token", "list", "--home", dir]);
    expect(out).toMatch(new RegExp(`^${first.id} +worker +revoked +0/2 .*first`, "m"));
    expect(out).toMatch(new RegExp(`^${second.id} +client +used up +1/1 .*c1`, "m"));
    const json = (await run(["token", "list", "--json", "--home", dir])).out.trim().split("\n");
    expect(json.map((line) => (JSON.parse(line) as { state: string }).state)).toEqual(["revoked", "used up"]);
    expect(await run(["token", "revoke", "aaaaaaaaaa", "--home", dir])).toMatchObject({ code: 4 });
  });

  test("no command repeats a token that is given where something else is meant, nor a part of one", async () => {
    const { dir } = await temporaryHome();
    const whole = (await run(["token", "create", "--home", dir])).out.trim();
    const { id, secret } = parseToken(whole);
    for (const line of [whole, whole.slice(0, -20), `./${whole}`, whole.slice(0, whole.indexOf(id) + 20)]) {
      for (const args of [
        ["token", "revoke", line],
        ["revoke", line],
        ["approve", line],
        ["approve", "n1", "--fingerprint", line],
        ["connect", "--token-file", line],
        ["connect", `--token-file=${line}`],
      ]) {
        const { code, out, err } = await run([...args, "--home", dir]);
        expect({ code, out }).toEqual({ code: 2, out: "" });
        expect(err).not.toContain(secret.slice(0, 9));
      }
    }
  });
});

describe("vgas connect", () => {
  test("takes the token from a file, says if others can read it, and prints the connection that it stored", async () => {
    const swarm = await startSwarmDoor();
    const flags = ["--role", "client", "--home", swarm.home.dir];
    const { out: line } = await run(["token", "create", ...flags]);
    const home = await temporaryHome();
    const file = join(home.dir, "token");
    await writeFile(file, line);
    const where = ["--no-mdns", "--peer", `127.0.0.1:${swarm.port}`, "--home", home.dir];
    await chmod(file, 0o644);
    const { code, out, err } = await run(["connect", "--token-file", file, ...where]);
    expect(code).toBe(0);
    expect(err).toContain(`other users of this machine can read ${file}`);
    const membership = await readMembership(home.layout);
    expect(JSON.parse(out)).toMatchObject({
      url: `tls://127.0.0.1:${NATS_PORT}`,
      nkeySeedFile: home.layout.membership.seed,
      caFile: home.layout.membership.caCertificate,
      inboxPrefix: membership?.inboxPrefix,
      serverName: swarm.authority.serverName,
      role: "client",
    });
    // Of the home of a member no swarm is led.
    const refused = await run(["token", "create", "--home", home.dir]);
    expect(refused).toMatchObject({ code: 78, out: "" });
    expect(refused.err).toContain(swarm.authority.swarmId);
  });

  test("takes it from the environment, and ends with the swarm's reason", async () => {
    const swarm = await startSwarmDoor();
    const { out: line } = await run(["token", "create", "--role", "guest", "--home", swarm.home.dir]);
    await swarm.tokens.revoke(parseToken(line).id);
    const { dir } = await temporaryHome();
    const where = ["--no-mdns", "--peer", `127.0.0.1:${swarm.port}`, "--home", dir];
    vi.stubEnv("VGAS_TOKEN", line);
    const { code, err } = await run(["connect", "--json", ...where], { VGAS_TOKEN: line });
    expect(process.env["VGAS_TOKEN"]).toBeUndefined();
    expect(code).toBe(77);
    expect(err).toContain("TOKEN_REVOKED");
    const truncated = await run(["connect", ...where], { VGAS_TOKEN: line.slice(0, 60) });
    expect(truncated).toMatchObject({ code: 77, out: "" });
    expect(truncated.err).toContain("truncated");
    expect((await run(["connect", ...where])).code).toBe(2);
  });
});
