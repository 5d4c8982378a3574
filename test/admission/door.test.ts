import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { MAX_PER_ADDRESS } from "../../src/admission/challenges.ts";
import { AdmissionDoor } from "../../src/admission/door.ts";
import { commitmentTo, newNonce } from "../../src/admission/fingerprint.ts";
import { formatToken, newToken, type Token } from "../../src/admission/token.ts";
import type { Home } from "../../src/bus/home/home.ts";
import { makeRig, refused } from "../support/door-rig.ts";
import { Joiner } from "../support/joiner.ts";

describe("with a token", () => {
  test("lets a node in once the token is proved, and says so in the log, without a secret", async () => {
    const rig = await makeRig();
    const token = await rig.token();
    const node = rig.joiner("n1");
    const { status, body } = await node.join(token);
    expect(status).toBe(200);
    expect(body).toEqual({
      v: 1,
      state: "admitted",
      swarmId: rig.authority.swarmId,
      prefix: "vgas",
      user: "n1",
      role: "worker",
      natsPort: 4222,
      serverName: rig.authority.serverName,
      vaultKey: (await rig.home.credentials.find("system"))?.publicKey,
    });
    expect(await rig.home.credentials.find("n1")).toMatchObject({
      role: "worker",
      publicKey: node.nkey,
      tokenId: token.id,
    });
    expect(rig.logger.lines.at(-1)).toMatchObject({
      level: "info",
      fields: { token: token.id, node: "n1", address: "10.0.0.7", role: "worker" },
    });
    expect(JSON.stringify(rig.logger.lines)).not.toContain(token.secret);
  });

  test.each([
    ["expired", "TOKEN_EXPIRED", 403],
    ["revoked", "TOKEN_REVOKED", 403],
    ["used up", "TOKEN_USED_UP", 403],
    ["unknown", "TOKEN_UNKNOWN", 401],
    ["of another key", "PROOF_REFUSED", 401],
    ["for a client", "PERMISSION_DENIED", 403],
    ["for HTTP alone", "PERMISSION_DENIED", 403],
  ])("refuses one that is %s with %s, and logs it", async (how, code, status) => {
    const rig = await makeRig();
    let token = await rig.token({
      ...(how === "for a client" && { role: "client" }),
      ...(how === "for HTTP alone" && { role: "observer", uses: 0, http: true }),
    });
    if (how === "expired") await rig.clock.advance(60_000);
    if (how === "revoked") await rig.tokens.revoke(token.id);
    if (how === "used up") expect((await rig.joiner("n0").join(token)).status).toBe(200);
    if (how === "unknown") token = newToken(rig.authority);
    if (how === "of another key") token = { ...newToken(rig.authority), id: token.id };
    const node = rig.joiner("n1", how === "for HTTP alone" ? { role: "client" } : {});
    expect(await node.join(token)).toMatchObject({ status, code });
    expect(refused(rig)).toMatchObject({ code, token: token.id, node: "n1", machine: "m1", address: "10.0.0.7" });
    expect(await rig.home.credentials.find("n1")).toBeUndefined();
  });

  test("refuses a node id that exists, and one that was revoked; neither takes a use", async () => {
    const rig = await makeRig();
    expect((await rig.joiner("n1").join(await rig.token())).status).toBe(200);
    const token = await rig.token();
    expect(await rig.joiner("n1").join(token)).toMatchObject({ code: "NODE_EXISTS", status: 409 });
    expect(refused(rig)).toMatchObject({ code: "NODE_EXISTS", node: "n1", token: token.id });
    const revoked = rig.joiner("n2");
    expect((await revoked.join(await rig.token())).status).toBe(200);
    await rig.home.credentials.revoke("n2");
    expect(await revoked.join(token)).toMatchObject({ code: "NODE_REVOKED", status: 403 });
    // Its key does not come back under another id either.
    const renamed = await rig.joiner("n3", { nkey: revoked.nkey }).join(token);
    expect(renamed).toMatchObject({ code: "NODE_REVOKED" });
    for (const name of ["admin", "system", "client", "canary"]) {
      expect((await rig.joiner(name).join(token)).status).toBeGreaterThanOrEqual(400);
    }
    expect((await rig.tokens.read(token.id))?.usedBy).toEqual([]);
    expect((await rig.joiner("n4").join(token)).status).toBe(200);
  });

  test("a lost answer is given again: to the same key, without a second use", async () => {
    const rig = await makeRig();
    const token = await rig.token();
    const node = rig.joiner("n1");
    const first = await node.join(token);
    rig.restart();
    expect(await node.join(token)).toEqual(first);
    expect((await rig.tokens.read(token.id))?.usedBy).toHaveLength(1);
  });

  test("a crash between use and credential: the same node comes again and is let in, another is not", async () => {
    const rig = await makeRig();
    const token = await rig.token();
    const node = rig.joiner("n1");
    await rig.tokens.use(token.id, { asked: "n1", publicKey: node.nkey }, () => "n1");
    expect(await rig.joiner("n2").join(token)).toMatchObject({ code: "TOKEN_USED_UP" });
    expect((await node.join(token)).status).toBe(200);
  });

  test("the last use goes to one of ten that come at once", async () => {
    const rig = await makeRig();
    const token = await rig.token();
    const said = await Promise.all(
      Array.from({ length: 10 }, (_, i) => rig.joiner(`n${i}`, { address: `10.0.0.${i}` }).join(token)),
    );
    expect(said.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(said.filter(({ code }) => code === "TOKEN_USED_UP")).toHaveLength(9);
  });

  test("a guest gets its name from the swarm, the same one when it comes again", async () => {
    const rig = await makeRig();
    const token = await rig.token({ role: "guest" });
    const guest = rig.joiner("c1", { role: "client" });
    const first = await guest.join(token);
    expect(first.body["user"]).toMatch(/^g[a-z2-7]{9}$/);
    expect((await guest.join(token)).body["user"]).toBe(first.body["user"]);
    expect((await rig.tokens.read(token.id))?.usedBy).toHaveLength(1);
  });

  test("a guest that was revoked gets its use back by nothing, so its token lets nobody else in", async () => {
    const rig = await makeRig();
    const token = await rig.token({ role: "guest" });
    const guest = rig.joiner("c1", { role: "client" });
    const { body } = await guest.join(token);
    await rig.home.credentials.revoke(String(body["user"]));
    for (let i = 0; i < 2; i++) expect(await guest.join(token)).toMatchObject({ code: "NODE_REVOKED" });
    expect(await rig.joiner("c2", { role: "client" }).join(token)).toMatchObject({ code: "TOKEN_USED_UP" });
    // Nor does it take one of another.
    const other = await rig.token({ role: "guest" });
    expect(await guest.join(other)).toMatchObject({ code: "NODE_REVOKED" });
    expect((await rig.tokens.read(other.id))?.usedBy).toEqual([]);
  });

  test("one that is revoked while it lets a node in leaves that node outside; who was in before stays", async () => {
    const rig = await makeRig();
    const token = await rig.token({ uses: 0 });
    const before = rig.joiner("n1");
    expect((await before.join(token)).status).toBe(200);
    const { credentials } = rig.home;
    const register = credentials.register.bind(credentials);
    vi.spyOn(credentials, "register").mockImplementation(async (who) => {
      await register(who);
      await rig.tokens.revoke(token.id);
    });
    expect(await rig.joiner("n2").join(token)).toMatchObject({ code: "TOKEN_REVOKED", status: 403 });
    expect(await credentials.find("n2")).toBeUndefined();
    expect(await before.join(token)).toMatchObject({ code: "TOKEN_REVOKED" });
    expect(await credentials.find("n1")).toBeDefined();
  });
});

describe("a proof", () => {
  test("is good once: the same again is refused", async () => {
    const rig = await makeRig();
    const token = await rig.token({ uses: 0 });
    const node = rig.joiner("n1");
    const facts = await node.hello(token.pin);
    expect((await node.prove(token, facts)).status).toBe(200);
    expect(await node.prove(token, facts)).toMatchObject({ code: "PROOF_REFUSED", status: 401 });
    expect(refused(rig)).toMatchObject({ message: expect.stringContaining("used before"), token: token.id });
  });

  test("for another swarm, pin, challenge, nonce, key, user or role is refused", async () => {
    const rig = await makeRig();
    const token = await rig.token();
    const node = rig.joiner("n1");
    for (const field of ["swarmId", "pin", "challenge", "nonce", "nkey", "user", "role"] as const) {
      const facts = await node.hello(token.pin);
      const other = { ...facts, [field]: field === "role" ? "client" : `${facts[field].slice(0, -1)}_` };
      expect(await node.prove(token, facts, other), field).toMatchObject({ code: "PROOF_REFUSED" });
      expect(refused(rig)).toMatchObject({ message: expect.stringContaining("does not fit") });
    }
  });

  test("that was taken from one node does not let another in", async () => {
    const rig = await makeRig();
    const token = await rig.token();
    const [node, thief] = [rig.joiner("n1"), rig.joiner("n2")];
    const stolen = await node.hello(token.pin);
    const own = await thief.hello(token.pin);
    expect(await thief.prove(token, own, stolen)).toMatchObject({ code: "PROOF_REFUSED" });
    // Sent whole, it lets in whom it was made for, and nobody else.
    expect((await thief.prove(token, stolen)).body).toMatchObject({ user: "n1" });
    expect((await rig.home.credentials.find("n1"))?.publicKey).toBe(node.nkey);
  });

  test("with another nonce than the one that was committed to is refused", async () => {
    const rig = await makeRig();
    const token = await rig.token();
    const node = rig.joiner("n1");
    const facts = { ...(await node.hello(token.pin)), nonce: newNonce() };
    expect(await node.prove(token, facts)).toMatchObject({ code: "PROOF_REFUSED" });
    expect(refused(rig)).toMatchObject({ message: expect.stringContaining("committed") });
  });
});

describe("hostile requests", () => {
  test("are refused for what they are", async () => {
    const rig = await makeRig();
    for (const [path, body, code, status] of [
      ["hello", "", "INVALID", 400],
      ["hello", "[]", "INVALID", 400],
      ["hello", "{", "INVALID", 400],
      ["hello", new Uint8Array([0xff, 0xfe]), "INVALID", 400],
      ["prove", { v: 1, challenge: 5 }, "INVALID", 400],
      ["ask", { v: 2 }, "INVALID", 400],
      ["ask", { v: 1, challenge: "x".repeat(43), nonce: "x".repeat(43) }, "PROOF_REFUSED", 401],
      ["hello", new Uint8Array(1_048_576), "TOO_LARGE", 413],
      ["other", {}, "NOT_FOUND", 404],
    ] as const) {
      expect(await rig.joiner("n1").post(path, body)).toMatchObject({ code, status });
      expect(refused(rig)).toMatchObject({ code, address: "10.0.0.7" });
    }
  });

  test("a hello that is wrong names the field", async () => {
    const rig = await makeRig();
    const { user, nkey, role } = rig.joiner("n1");
    for (const [wrong, field] of [
      [{ user: "../../x" }, "user"],
      [{ user: "a.b" }, "user"],
      [{ nkey: "SUAAAA" }, "nkey"],
      [{ role: "admin" }, "role"],
      [{ machine: "a\nb" }, "machine"],
      [{ machine: "a".repeat(300) }, "machine"],
      [{ commitment: "short" }, "commitment"],
    ] as const) {
      const hello = { v: 1, user, nkey, role, commitment: commitmentTo(newNonce()), machine: "m", ...wrong };
      const said = await rig.joiner("n1").post("hello", hello);
      expect(said).toMatchObject({ status: 400, code: "INVALID" });
      expect(said.body["error"]).toMatchObject({ message: expect.stringContaining(field) });
    }
  });

  test("any JSON at all gets a typed answer", async () => {
    const rig = await makeRig();
    const path = fc.constantFrom("hello", "prove", "ask", "", "hello/x");
    await fc.assert(
      fc.asyncProperty(path, fc.jsonValue(), async (where, value) => {
        const { status, code } = await rig.joiner("n1").post(where, JSON.stringify(value));
        expect(status).toBeGreaterThanOrEqual(400);
        expect(code).toBeDefined();
      }),
    );
    expect(rig.logger.lines.some(({ level }) => level === "error")).toBe(false);
  });

  test("a flood is told to wait, and fills no log", async () => {
    const rig = await makeRig();
    const node = rig.joiner("n1");
    const said = [];
    for (let i = 0; i < 1_000; i++) {
      const { user, nkey, role } = node;
      said.push(await node.post("hello", { v: 1, user, nkey, role, commitment: "c".repeat(43), machine: "m" }));
    }
    expect(said.filter(({ status }) => status === 200)).toHaveLength(MAX_PER_ADDRESS);
    expect(said.at(-1)).toMatchObject({ status: 429, code: "RESOURCE_LIMIT", body: { error: { retryable: true } } });
    expect(rig.logger.lines.length).toBeLessThan(200);
    await rig.clock.advance(60_000);
    expect(rig.logger.lines.at(-1)?.fields).toMatchObject({ refusals: expect.any(Number) });
  });

  test("a door that is stopped, or whose home is damaged, still answers", async () => {
    const rig = await makeRig();
    const token = await rig.token();
    const broken = { ...rig.home, hostId: rig.home.hostId, layout: { ...rig.home.layout, node: "/dev/null/x" } };
    const door = new AdmissionDoor({
      ...rig,
      home: Object.setPrototypeOf(broken, Object.getPrototypeOf(rig.home) as object) as Home,
      natsPort: () => 1,
    });
    const said = await new Joiner(() => door, "n1").join(token);
    expect(said).toMatchObject({ status: 500, code: "INTERNAL" });
    expect(rig.logger.lines.at(-1)).toMatchObject({ level: "error" });
    rig.door.stop();
    expect(await rig.joiner("n1").join(token)).toMatchObject({ status: 503, code: "SHUTTING_DOWN" });
  });
});

describe("bearer", () => {
  const line = (token: Token): string => formatToken(token);

  test("takes the whole line of an observer's token while it is usable", async () => {
    const rig = await makeRig();
    const token = await rig.token({ role: "observer" });
    expect(await rig.door.checkBearer(line(token))).toBeUndefined();
    expect(await rig.door.checkBearer(line(token))).toBeUndefined();
    await rig.tokens.revoke(token.id);
    expect(await rig.door.checkBearer(line(token))).toMatchObject({ code: "TOKEN_REVOKED" });
  });

  test("refuses everything else, with the reason", async () => {
    const rig = await makeRig();
    const token = await rig.token({ role: "observer" });
    const check = async (text: string): Promise<string | undefined> => (await rig.door.checkBearer(text))?.code;
    expect(await check("")).toBe("TOKEN_INVALID");
    expect(await check(line(token).slice(0, -1))).toBe("TOKEN_INVALID");
    expect(await check("x".repeat(1_000_000))).toBe("TOKEN_INVALID");
    expect(await check(line(newToken(rig.authority)))).toBe("TOKEN_UNKNOWN");
    expect(await check(line({ ...newToken(rig.authority), id: token.id }))).toBe("TOKEN_UNKNOWN");
    expect(await check(line({ ...token, swarmId: "aaaaaaaaaa" }))).toBe("TOKEN_UNKNOWN");
    expect(await check(line(await rig.token({ role: "client" })))).toBe("PERMISSION_DENIED");
    const http = line(await rig.token({ role: "observer", uses: 0, http: true }));
    for (let i = 0; i < 3; i++) expect(await check(http)).toBeUndefined();
    await rig.clock.advance(60_000);
    expect(await check(line(token))).toBe("TOKEN_EXPIRED");
    expect(await check(http)).toBe("TOKEN_EXPIRED");
  });
});
