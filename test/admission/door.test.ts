import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { AdmissionDoor } from "../../src/admission/door.ts";
import { commitmentTo, fingerprintOf, newNonce } from "../../src/admission/fingerprint.ts";
import { KEPT_MS, MAX_PENDING, MAX_PER_ADDRESS, PendingStore } from "../../src/admission/pending-store.ts";
import { formatToken, newToken, parseToken, type Token } from "../../src/admission/token.ts";
import { TokenStore } from "../../src/admission/token-store.ts";
import { type Authority, ensureAuthority } from "../../src/bus/certificates/authority.ts";
import type { Home } from "../../src/bus/home/home.ts";
import type { AdmissionRole } from "../../src/protocols/roles.ts";
import { temporaryHome } from "../support/home.ts";
import { Joiner } from "../support/joiner.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { RecordingLogger } from "../support/recording-logger.ts";

interface Rig {
  readonly home: Home;
  readonly authority: Authority;
  readonly clock: ManualClock;
  readonly logger: RecordingLogger;
  readonly tokens: TokenStore;
  readonly pending: PendingStore;
  door: AdmissionDoor;
  restart(): void;
  joiner(user: string, options?: ConstructorParameters<typeof Joiner>[2]): Joiner;
  token(options?: Partial<{ role: AdmissionRole; uses: number; ttlMs: number }>): Promise<Token>;
}

async function makeRig(): Promise<Rig> {
  const home = await temporaryHome();
  await home.credentials.prepare();
  const authority = await ensureAuthority(home.layout);
  const [clock, logger] = [new ManualClock(), new RecordingLogger()];
  const tokens = new TokenStore(home.layout, clock);
  const makeDoor = (): AdmissionDoor => new AdmissionDoor({ home, authority, clock, logger, natsPort: () => 4222 });
  const rig: Rig = {
    ...{ home, authority, clock, logger, tokens, pending: new PendingStore(home.layout, clock) },
    door: makeDoor(),
    restart: () => {
      rig.door.stop();
      rig.door = makeDoor();
    },
    joiner: (user, options) => new Joiner(() => rig.door, user, options),
    token: async (options = {}) => {
      const request = { role: "worker", ttlMs: 60_000, uses: 1, ...options } as const;
      return parseToken((await tokens.create(authority, request)).line);
    },
  };
  onTestFinished(() => rig.door.stop());
  return rig;
}

/** The last refusal in the master's log. */
function refused({ logger }: Rig): object | undefined {
  const line = logger.lines.findLast(({ level }) => level === "warn");
  return line && { ...line.fields, message: line.message };
}

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
  ])("refuses one that is %s with %s, and logs it", async (how, code, status) => {
    const rig = await makeRig();
    let token = await rig.token(how === "for a client" ? { role: "client" } : {});
    if (how === "expired") await rig.clock.advance(60_000);
    if (how === "revoked") await rig.tokens.revoke(token.id);
    if (how === "used up") expect((await rig.joiner("n0").join(token)).status).toBe(200);
    if (how === "unknown") token = newToken(rig.authority);
    if (how === "of another key") token = { ...newToken(rig.authority), id: token.id };
    const said = await rig.joiner("n1").join(token);
    expect(said).toMatchObject({ status, code });
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

describe("without a token", () => {
  test("shows the fingerprint that the joiner computes, and lets it in when it is approved", async () => {
    const rig = await makeRig();
    const node = rig.joiner("n1");
    const facts = await node.hello(rig.authority.pin);
    expect((await node.ask(facts)).body).toEqual({ v: 1, state: "pending", fingerprint: fingerprintOf(facts) });
    expect(refused(rig)).toMatchObject({ node: "n1", fingerprint: fingerprintOf(facts) });
    expect(await rig.pending.list()).toMatchObject([
      { user: "n1", machine: "m1", address: "10.0.0.7", state: "pending" },
    ]);
    await expect(rig.pending.decide("n1", "approved", "aaaa-aaaa")).rejects.toMatchObject({ code: "CONFLICT" });
    expect((await node.ask(facts)).body).toMatchObject({ state: "pending" });
    await rig.pending.decide("n1", "approved", fingerprintOf(facts).toUpperCase().replace("-", ""));
    expect((await node.ask(facts)).body).toMatchObject({ state: "admitted", user: "n1", role: "worker" });
    expect(await rig.pending.list()).toEqual([]);
    expect(await rig.home.credentials.find("n1")).toMatchObject({ publicKey: node.nkey });
    // The answer may have been lost.
    expect((await node.ask(await node.hello(rig.authority.pin))).body).toMatchObject({ state: "admitted" });
  });

  test("what somebody in between shows is another fingerprint", async () => {
    const rig = await makeRig();
    const node = rig.joiner("n1");
    const facts = await node.hello("m".repeat(43));
    expect((await node.ask(facts)).body["fingerprint"]).not.toBe(fingerprintOf(facts));
  });

  test("goes on where it was after a restart of the master, with the same fingerprint", async () => {
    const rig = await makeRig();
    const node = rig.joiner("n1");
    const facts = await node.hello(rig.authority.pin);
    const before = await node.ask(facts);
    rig.restart();
    expect(await node.ask(facts)).toEqual(before);
    await rig.pending.decide("n1", "approved");
    rig.restart();
    expect((await node.ask(facts)).body).toMatchObject({ state: "admitted" });
  });

  test("a refusal is told, with its reason, on both sides", async () => {
    const rig = await makeRig();
    const node = rig.joiner("n1");
    const facts = await node.hello(rig.authority.pin);
    await node.ask(facts);
    await rig.pending.decide("n1", "refused");
    expect(await node.ask(facts)).toMatchObject({ code: "NOT_ADMITTED", status: 403 });
    expect(refused(rig)).toMatchObject({ code: "NOT_ADMITTED", node: "n1" });
    expect(await node.ask(await node.hello(rig.authority.pin))).toMatchObject({ code: "NOT_ADMITTED" });
  });

  test("an id belongs to who asked first, until it stops asking", async () => {
    const rig = await makeRig();
    const [first, other] = [rig.joiner("n1"), rig.joiner("n1")];
    await first.ask(await first.hello(rig.authority.pin));
    expect(await other.ask(await other.hello(rig.authority.pin))).toMatchObject({ code: "NODE_EXISTS" });
    await rig.clock.advance(KEPT_MS);
    expect((await other.ask(await other.hello(rig.authority.pin))).body).toMatchObject({ state: "pending" });
    await expect(rig.pending.decide("n2", "approved")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("asking keeps it alive; what stopped asking is unknown", async () => {
    const rig = await makeRig();
    const node = rig.joiner("n1");
    const facts = await node.hello(rig.authority.pin);
    await node.ask(facts);
    for (let i = 0; i < 4; i++) {
      await rig.clock.advance(KEPT_MS / 2);
      expect((await node.ask(facts)).body).toMatchObject({ state: "pending" });
    }
    await rig.clock.advance(KEPT_MS);
    expect(await node.ask(facts)).toMatchObject({ code: "PROOF_REFUSED" });
  });

  test("only nodes may ask, and nobody who is in or was revoked", async () => {
    const rig = await makeRig();
    const client = rig.joiner("c1", { role: "client" });
    expect(await client.ask(await client.hello(rig.authority.pin))).toMatchObject({ code: "NOT_ADMITTED" });
    expect((await rig.joiner("n1").join(await rig.token())).status).toBe(200);
    const other = rig.joiner("n1");
    expect(await other.ask(await other.hello(rig.authority.pin))).toMatchObject({ code: "NODE_EXISTS" });
    await rig.home.credentials.revoke("n1");
    expect(await other.ask(await other.hello(rig.authority.pin))).toMatchObject({ code: "NODE_REVOKED" });
  });

  test("at most a few of one address, and not too many in all, wait", async () => {
    const rig = await makeRig();
    const ask = async (i: number, address: string): Promise<string | undefined> => {
      const node = rig.joiner(`n${i}`, { address });
      return (await node.ask(await node.hello(rig.authority.pin))).code;
    };
    for (let i = 0; i < MAX_PER_ADDRESS; i++) expect(await ask(i, "10.0.0.1")).toBeUndefined();
    expect(await ask(MAX_PER_ADDRESS, "10.0.0.1")).toBe("RESOURCE_LIMIT");
    for (let i = MAX_PER_ADDRESS; i < MAX_PENDING; i++) expect(await ask(i, `10.0.1.${i}`)).toBeUndefined();
    expect(await ask(MAX_PENDING, "10.0.2.1")).toBe("RESOURCE_LIMIT");
    expect(await rig.pending.list()).toHaveLength(MAX_PENDING);
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
    expect(said.filter(({ status }) => status === 200)).toHaveLength(16);
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
    await rig.clock.advance(60_000);
    expect(await check(line(token))).toBe("TOKEN_EXPIRED");
  });
});
