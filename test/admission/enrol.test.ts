import { createUser } from "@nats-io/nkeys";
import { describe, expect, test } from "vitest";
import { findAgain, peerSource } from "../../src/admission/enrol.ts";
import { PendingStore } from "../../src/admission/pending-store.ts";
import { askedPath, askedSwarm, readMembership } from "../../src/bus/home/membership.ts";
import { Announced, answer, deadEnd, FAST, pick, start } from "../support/enrolling.ts";
import { temporaryHome } from "../support/home.ts";
import { NATS_PORT, startSwarmDoor } from "../support/swarm-door.ts";

describe("with a token", () => {
  test("finds the swarm, and stores what it needs from then on", async () => {
    const swarm = await startSwarmDoor();
    const token = await swarm.token();
    const source = new Announced(swarm.candidate());
    const { end, events, options } = await start({ token, sources: [source] });
    const membership = await end;
    const { swarmId, pin, serverName, caPem } = swarm.authority;
    expect(membership).toMatchObject({
      ...{ swarmId, pin, serverName, prefix: "vgas", user: options.home.hostId, role: "worker" },
      urls: [`tls://127.0.0.1:${NATS_PORT}`],
      doors: [`127.0.0.1:${swarm.port}`],
      inboxPrefix: `_INBOX.${options.home.hostId}`,
    });
    expect(membership.ca.replace(/\s/g, "")).toBe(caPem.replace(/\s/g, ""));
    expect(await readMembership(options.home.layout)).toEqual(membership);
    expect(await swarm.home.credentials.find(options.home.hostId)).toMatchObject({ role: "worker", tokenId: token.id });
    expect(events.map(({ type }) => type)).toEqual(["seen", "dialing", "joining", "joined"]);
    expect(source.watchers).toBe(0);
  });

  test("a client, an observer and a guest get a name of their own", async () => {
    const swarm = await startSwarmDoor();
    for (const [role, user] of [
      ["client", /^c[a-z2-7]{9}$/],
      ["observer", /^c[a-z2-7]{9}$/],
      ["guest", /^g[a-z2-7]{9}$/],
    ] as const) {
      const { end } = await start({
        token: await swarm.token({ role }),
        role: "client",
        sources: [peerSource([`127.0.0.1:${swarm.port}`])],
      });
      expect(await end).toMatchObject({ role, user: expect.stringMatching(user) });
    }
  });

  test.each(["expired", "revoked", "used up", "unknown", "for a client"])(
    "one that is %s ends it with the swarm's reason, which is in the master's log too",
    async (how) => {
      const swarm = await startSwarmDoor();
      const codes = {
        expired: "TOKEN_EXPIRED",
        revoked: "TOKEN_REVOKED",
        "used up": "TOKEN_USED_UP",
        unknown: "TOKEN_UNKNOWN",
      };
      const expected = codes[how as keyof typeof codes] ?? "PERMISSION_DENIED";
      let token = await swarm.token(
        how === "expired" ? { ttlMs: 1 } : how === "for a client" ? { role: "client" } : {},
      );
      if (how === "revoked") await swarm.tokens.revoke(token.id);
      if (how === "used up") await (await start({ token, sources: [new Announced(swarm.candidate())] })).end;
      if (how === "unknown") token = { ...token, id: "aaaaaaaaaa" };
      const { code, events, options } = await start({ token, sources: [new Announced(swarm.candidate())] });
      expect(await code).toBe(expected);
      expect(events.at(-1)).toMatchObject({ type: "rejected", code: expected });
      expect(swarm.refusals()).toEqual([expected]);
      expect(await readMembership(options.home.layout)).toBeUndefined();
    },
  );

  test("a node id that exists, or was revoked, ends it", async () => {
    const swarm = await startSwarmDoor();
    const home = await temporaryHome();
    const sources = [new Announced(swarm.candidate())];
    await swarm.home.credentials.register({
      user: home.hostId,
      role: "worker",
      publicKey: createUser().getPublicKey(),
    });
    expect(await (await start({ home, token: await swarm.token(), sources })).code).toBe("NODE_EXISTS");
    await swarm.home.credentials.revoke(home.hostId);
    expect(await (await start({ home, token: await swarm.token(), sources })).code).toBe("NODE_REVOKED");
    expect(swarm.refusals()).toEqual(["NODE_EXISTS", "NODE_REVOKED"]);
  });

  test("a lost answer is asked for again with the same key, and costs no second use", async () => {
    const swarm = await startSwarmDoor();
    const token = await swarm.token();
    let lost = 0;
    swarm.intercept = (path) => (path === "/join/prove" && lost++ === 0 ? "hang up" : undefined);
    const { end, options } = await start({ token, sources: [new Announced(swarm.candidate())] });
    await end;
    expect(lost).toBe(2);
    expect((await swarm.tokens.read(token.id))?.usedBy).toMatchObject([{ user: options.home.hostId }]);
  });

  test("two that come at once for the last use: one is in, one is told that it is used up", async () => {
    const swarm = await startSwarmDoor();
    const token = await swarm.token();
    const both = await Promise.all([1, 2].map(() => start({ token, sources: [new Announced(swarm.candidate())] })));
    expect((await Promise.all(both.map(({ code }) => code))).toSorted()).toEqual(["TOKEN_USED_UP", undefined]);
  });
});

describe("what the swarm answers", () => {
  test.each([
    [{ user: "somebody" }, "PERMISSION_DENIED"],
    [{ user: "gabcdefgh2" }, "PERMISSION_DENIED"],
    [{ role: "client" }, "PERMISSION_DENIED"],
    [{ role: "admin" }, "NO_SWARM"],
    [{ prefix: "a.b" }, "NO_SWARM"],
    [{ natsPort: 65_536 }, "NO_SWARM"],
    [{ serverName: "localhost" }, "CERTIFICATE_MISMATCH"],
  ])("is not believed where it is not what was asked: %j", async (wrong, code) => {
    const swarm = await startSwarmDoor();
    answer(swarm, "/join/prove", wrong);
    const abort = new AbortController();
    const sources = [new Announced(swarm.candidate())];
    const tried = await start({ token: await swarm.token(), sources, signal: abort.signal });
    expect(await tried.seen("rejected")).toMatchObject({ code });
    abort.abort();
    expect(await tried.code).toBeDefined();
    expect(await readMembership(tried.options.home.layout)).toBeUndefined();
  });
});

describe("whoever is not the swarm", () => {
  test("is told nothing: a wrong pin ends it once nobody else is there", async () => {
    const [swarm, other] = [await startSwarmDoor(), await startSwarmDoor()];
    const token = await swarm.token();
    // As one in the middle announces itself: with the swarm's id and pin, and another certificate.
    const forged = { ...other.candidate(), ...pick(swarm.candidate()) };
    const { code, events } = await start({ token, sources: [new Announced(forged)] });
    expect(await code).toBe("CERTIFICATE_MISMATCH");
    expect(events).toContainEqual(expect.objectContaining({ type: "rejected", code: "CERTIFICATE_MISMATCH" }));
    expect(other.asked).toEqual([]);
  });

  test("keeps nobody from the true one, however many they are and whenever it comes", async () => {
    const [swarm, other] = [await startSwarmDoor(), await startSwarmDoor()];
    const token = await swarm.token();
    const dead = await deadEnd();
    const forged = Array.from({ length: 40 }, (_, i) => ({
      ...other.candidate(),
      ...pick(swarm.candidate()),
      id: `forged${i}`,
      ...(i % 2 === 0 && { port: dead }),
    }));
    const source = new Announced(...forged);
    const { end, seen } = await start({ token, sources: [source] });
    await seen("rejected");
    source.announce(swarm.candidate());
    expect(await end).toMatchObject({ swarmId: swarm.authority.swarmId });
    expect(other.asked).toEqual([]);
  });

  test("a token for another swarm is not shown to this one", async () => {
    const [swarm, other] = [await startSwarmDoor(), await startSwarmDoor()];
    const token = await other.token();
    const source = new Announced(swarm.candidate());
    const { end, seen } = await start({ token, sources: [source] });
    expect(await seen("rejected")).toMatchObject({ why: expect.stringContaining(other.authority.swarmId) });
    source.announce(other.candidate());
    expect(await end).toMatchObject({ swarmId: other.authority.swarmId });
    expect(swarm.asked).toEqual([]);
  });

  test("with a token it goes to the right one of two swarms", async () => {
    const [a, b] = [await startSwarmDoor(), await startSwarmDoor()];
    const { end } = await start({ token: await b.token(), sources: [new Announced(a.candidate(), b.candidate())] });
    expect(await end).toMatchObject({ swarmId: b.authority.swarmId });
    expect(a.asked).toEqual([]);
  });
});

describe("without a token", () => {
  test("shows the fingerprint, and is in as soon as it is approved", async () => {
    const swarm = await startSwarmDoor();
    const { seen, end, options } = await start({ sources: [new Announced(swarm.candidate())] });
    const pending = await seen("pending");
    const store = new PendingStore(swarm.home.layout);
    const [waits] = await store.list();
    expect(pending).toMatchObject({ fingerprint: waits?.fingerprint, user: options.home.hostId });
    await store.decide(options.home.hostId, "approved", waits?.fingerprint);
    expect(await end).toMatchObject({ role: "worker", swarmId: swarm.authority.swarmId });
  });

  test("waits on through a restart of the master, with the same fingerprint, and hears that it is refused", async () => {
    const swarm = await startSwarmDoor();
    const { seen, code, events, options } = await start({ sources: [peerSource([`127.0.0.1:${swarm.port}`])] });
    await seen("pending");
    swarm.restart();
    await new PendingStore(swarm.home.layout).decide(options.home.hostId, "refused");
    expect(await code).toBe("NOT_ADMITTED");
    expect(events.filter(({ type }) => type === "pending")).toHaveLength(1);
    expect(swarm.refusals().at(-1)).toBe("NOT_ADMITTED");
  });

  test("a lost answer is given again to the same question, without another look at it", async () => {
    const swarm = await startSwarmDoor();
    const { seen, end, events, options } = await start({ sources: [new Announced(swarm.candidate())] });
    await seen("pending");
    const store = new PendingStore(swarm.home.layout);
    let lost = 0;
    swarm.intercept = () => {
      if (lost > 0 || swarm.logger.lines.at(-1)?.level !== "info") return undefined;
      lost++;
      return "hang up";
    };
    await store.decide(options.home.hostId, "approved");
    expect(await end).toMatchObject({ role: "worker" });
    expect(lost).toBe(1);
    expect(events.filter(({ type }) => type === "pending")).toHaveLength(1);
  });

  test("believes nobody who lets it in before it has shown a fingerprint of that question", async () => {
    const swarm = await startSwarmDoor();
    answer(swarm, "/join/ask", { state: "admitted" });
    const { code, events, options } = await start({ sources: [new Announced(swarm.candidate())] });
    expect(await code).toBe("CERTIFICATE_MISMATCH");
    expect(events.map(({ type }) => type)).not.toContain("pending");
    expect(await readMembership(options.home.layout)).toBeUndefined();
  });

  test("after a restart it asks the swarm whose fingerprint it has shown, and no other", async () => {
    const [swarm, other] = [await startSwarmDoor(), await startSwarmDoor()];
    const home = await temporaryHome();
    const abort = new AbortController();
    const first = await start({ home, sources: [new Announced(swarm.candidate())], signal: abort.signal });
    const shown = await first.seen("pending");
    abort.abort();
    await first.code;
    const store = new PendingStore(swarm.home.layout);
    await store.decide(home.hostId, "approved", "fingerprint" in shown ? shown.fingerprint : "");
    // Somebody in between announces itself as the swarm, or was named.
    const forged = new Announced({ ...other.candidate(), ...pick(swarm.candidate()) });
    const named = peerSource([`127.0.0.1:${other.port}`]);
    for (const source of [forged, named]) {
      await expect((await start({ home, sources: [source] })).end).rejects.toMatchObject({
        code: "CERTIFICATE_MISMATCH",
        message: expect.stringContaining(`delete ${askedPath(home.layout)}`),
      });
    }
    const honest = await start({ home, sources: [new Announced(other.candidate())], timeoutMs: 3_000 });
    expect(await honest.seen("rejected")).toMatchObject({ why: expect.stringContaining(swarm.authority.swarmId) });
    await expect(honest.end).rejects.toMatchObject({ message: expect.stringContaining(askedPath(home.layout)) });
    expect(other.asked).toEqual([]);
    // What was approved was another question.
    const again = await start({ home, sources: [new Announced(other.candidate(), swarm.candidate())] });
    expect(await again.seen("pending")).not.toEqual(shown);
    await store.decide(home.hostId, "approved");
    expect(await again.end).toMatchObject({ swarmId: swarm.authority.swarmId });
    expect(await askedSwarm(home.layout)).toBeUndefined();
  });

  test("asks none of two swarms, unless one is named", async () => {
    const [a, b] = [await startSwarmDoor(), await startSwarmDoor()];
    const both = new Announced(a.candidate(), b.candidate());
    const unsure = await start({ sources: [both] });
    await expect(unsure.end).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("--peer"),
    });
    expect([...a.asked, ...b.asked]).toEqual([]);
    const named = await start({ sources: [both, peerSource([`127.0.0.1:${b.port}`])] });
    await named.seen("pending");
    expect(a.asked).toEqual([]);
    await new PendingStore(b.home.layout).decide(named.options.home.hostId, "approved");
    expect(await named.end).toMatchObject({ swarmId: b.authority.swarmId });
  });

  test("ends with its signal, and with its time", async () => {
    const abort = new AbortController();
    const given = await start({ signal: abort.signal });
    abort.abort();
    expect(await given.code).toBe("ABORTED");
    const late = await start({ timeoutMs: 1_000 });
    await expect(late.end).rejects.toMatchObject({ code: "TIMEOUT", message: expect.stringContaining("--peer") });
  });
});

describe("finding a master again", () => {
  test("gives another address at once if it proves to be the swarm's, and nothing else", async () => {
    const [swarm, other] = [await startSwarmDoor(), await startSwarmDoor()];
    const { end } = await start({ token: await swarm.token(), sources: [new Announced(swarm.candidate())] });
    const member = { ...(await end), urls: ["tls://127.0.0.9:4222"], doors: ["127.0.0.9:1"] };
    const signal = new AbortController().signal;
    const forged = { ...other.candidate(), ...pick(swarm.candidate()), id: "forged" };
    const source = new Announced(forged, { ...forged, id: "dead", port: await deadEnd() });
    expect(await findAgain(member, [source], { signal, timeoutMs: 10_000, clock: FAST })).toBeUndefined();
    const searching = findAgain(member, [source], { signal, timeoutMs: 60_000 });
    // Its door stands for its NATS here: both show the swarm's certificate.
    source.announce({ ...swarm.candidate(), natsPort: swarm.port });
    expect(await searching).toEqual({
      urls: [`tls://127.0.0.1:${swarm.port}`, ...member.urls],
      doors: [`127.0.0.1:${swarm.port}`, ...member.doors],
    });
    expect(source.watchers).toBe(0);
    expect(other.asked).toEqual([]);
  });

  test("an aborted search ends", async () => {
    const swarm = await startSwarmDoor();
    const { end } = await start({ token: await swarm.token(), sources: [new Announced(swarm.candidate())] });
    const abort = new AbortController();
    const searching = findAgain(await end, [new Announced()], { signal: abort.signal, timeoutMs: 60_000 });
    abort.abort();
    expect(await searching).toBeUndefined();
  });
});
