/** Machines that ask the door without a token, and what their operator decides. */
import { expect, test, vi } from "vitest";
import { fingerprintOf, newNonce } from "../../src/admission/fingerprint.ts";
import { KEPT_MS, MAX_PENDING, MAX_PER_ADDRESS } from "../../src/admission/pending-store.ts";
import { makeRig, refused } from "../support/door-rig.ts";

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
  // The answer may have been lost: the same question gets it again, after a restart of the master too.
  rig.restart();
  expect((await node.ask(facts)).body).toMatchObject({ state: "admitted", user: "n1" });
  await rig.home.credentials.revoke("n1");
  expect(await node.ask(facts)).toMatchObject({ code: "NODE_REVOKED" });
});

test("an approval is one of a fingerprint: who asks anew with the same key waits again, also when it is in", async () => {
  const rig = await makeRig();
  const node = rig.joiner("n1");
  const first = await node.hello(rig.authority.pin);
  await node.ask(first);
  await rig.pending.decide("n1", "approved", fingerprintOf(first));
  // Somebody in between can send on user and key with a nonce of its own.
  const second = await node.hello(rig.authority.pin);
  expect((await node.ask(second)).body).toEqual({ v: 1, state: "pending", fingerprint: fingerprintOf(second) });
  expect(await node.ask(first)).toMatchObject({ code: "PROOF_REFUSED" });
  expect(await rig.home.credentials.find("n1")).toBeUndefined();
  await rig.pending.decide("n1", "approved", fingerprintOf(second));
  expect((await node.ask(second)).body).toMatchObject({ state: "admitted" });
  const third = await node.hello(rig.authority.pin);
  expect((await node.ask(third)).body).toMatchObject({ state: "pending", fingerprint: fingerprintOf(third) });
  expect(await rig.pending.list()).toMatchObject([{ state: "pending", fingerprint: fingerprintOf(third) }]);
});

test("one that is refused while it is let in is outside when that is said", async () => {
  const rig = await makeRig();
  const node = rig.joiner("n1");
  const facts = await node.hello(rig.authority.pin);
  await node.ask(facts);
  await rig.pending.decide("n1", "approved");
  const { credentials } = rig.home;
  const register = credentials.register.bind(credentials);
  vi.spyOn(credentials, "register").mockImplementationOnce(async (who) => {
    await rig.pending.decide("n1", "refused");
    await register(who);
  });
  expect(await node.ask(facts)).toMatchObject({ code: "NOT_ADMITTED", status: 403 });
  expect(await credentials.find("n1")).toBeUndefined();
  expect((await rig.pending.find("n1"))?.state).toBe("refused");
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
  const taken = await other.ask(await other.hello(rig.authority.pin));
  expect(taken).toMatchObject({ code: "NODE_EXISTS", body: { error: { message: "that id is taken" } } });
  expect(refused(rig)).toMatchObject({ message: expect.stringContaining("asks already as n1") });
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

test("only nodes may ask; of an id that is in, or was revoked, a stranger hears only that it is taken", async () => {
  const rig = await makeRig();
  const client = rig.joiner("c1", { role: "client" });
  expect(await client.ask(await client.hello(rig.authority.pin))).toMatchObject({ code: "NOT_ADMITTED" });
  expect((await rig.joiner("n1").join(await rig.token())).status).toBe(200);
  const other = rig.joiner("n1");
  const isIn = await other.ask(await other.hello(rig.authority.pin));
  expect(isIn).toMatchObject({ code: "NODE_EXISTS", body: { error: { message: "that id is taken" } } });
  await rig.home.credentials.revoke("n1");
  const wasIn = await other.ask(await other.hello(rig.authority.pin));
  expect(wasIn).toEqual(isIn);
  expect(refused(rig)).toMatchObject({ message: expect.stringContaining("was revoked") });
  expect(await other.ask(await other.hello("x".repeat(43)))).toEqual(isIn);
  // Nothing is told before the challenge was spent, nor by a hello.
  const facts = { ...(await other.hello(rig.authority.pin)), nonce: newNonce() };
  expect(await other.ask(facts)).toMatchObject({ code: "PROOF_REFUSED" });
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
