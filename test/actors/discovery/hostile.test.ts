/** What strangers on the link may send: bounded memory, bounded answers, nothing forgotten, nothing thrown. */
import { describe, expect, test } from "vitest";
import { MAX_PEERS } from "../../../src/actors/discovery/peers.ts";
import { announcement, DOMAIN, goodbye, packet, question, TYPE } from "./forge.ts";
import { pair, settle } from "./memory-network.ts";

describe("forged packets", () => {
  test("10 000 services: bounded, those known stay, and nothing is logged", async () => {
    const { clock, link, slave } = await pair();
    for (let i = 0; i < 10_000; i++) {
      // From every address of the link, so that no limit of one address bounds it.
      link.deliver(announcement({ id: `forged-${i}`, extra: [`x=${"y".repeat(200)}`] }), `10.0.0.${10 + (i % 240)}`);
      if (i % 50 === 0) await clock.advance(20);
    }
    expect(slave.discovery.peers()).toHaveLength(MAX_PEERS);
    expect(slave.state("master")).toBe("seen");
    expect(slave.warnings).toEqual([]);
    await clock.advance(130_000);
    expect(slave.discovery.peers().filter(({ state }) => state !== "lost")).toMatchObject([{ id: "master" }]);
    await clock.advance(700_000);
    expect(slave.discovery.peers()).toMatchObject([{ id: "master", state: "seen" }]);
  });

  test("a flood from one address leaves room, and is cut before it is decoded", async () => {
    const { clock, link, slave } = await pair();
    for (let i = 0; i < 10_000; i++) link.deliver(announcement({ id: `forged-${i}` }), "10.0.0.66");
    expect(slave.discovery.peers().length).toBeLessThanOrEqual(65);
    link.deliver(announcement({ id: "late" }), "10.0.0.9");
    expect(slave.state("late")).toBe("seen");
    await clock.advance(300_000);
    expect(slave.state("master")).toBe("seen");
  });

  test("a goodbye in somebody's name does not give its place to a flood", async () => {
    const { clock, link, slave } = await pair();
    for (let i = 0; i < 1_000; i++) {
      link.deliver(goodbye("master"), "10.0.0.66");
      link.deliver(announcement({ id: `forged-${i}` }), `10.0.0.${10 + (i % 50)}`);
      if (i % 20 === 0) await clock.advance(100);
    }
    await clock.advance(3_000);
    expect(slave.discovery.peers()).toHaveLength(MAX_PEERS);
    expect(slave.state("master")).toBe("seen");
  });

  test("a goodbye does not end what has joined, and what is seen comes back by itself", async () => {
    const { clock, link, master, slave } = await pair();
    slave.discovery.mark("master", "joined");
    link.deliver(goodbye("master"), "10.0.0.66");
    link.deliver(goodbye("slave"), "10.0.0.66");
    expect(slave.state("master")).toBe("joined");
    expect(master.state("slave")).toBe("lost");
    await clock.advance(2_000);
    expect(master.state("slave")).toBe("seen");
  });

  test("silence does not end what has joined", async () => {
    const { clock, link, slave } = await pair();
    slave.discovery.mark("master", "joined");
    link.cut = true;
    await clock.advance(600_000);
    expect(slave.discovery.peers()).toMatchObject([{ id: "master", state: "joined", addresses: ["10.0.0.1"] }]);
    slave.discovery.mark("master", "lost");
    expect(slave.state("master")).toBe("lost");
  });

  test("our id from another machine is told once, and the node goes on", async () => {
    const { clock, link, master, slave } = await pair();
    for (let i = 0; i < 3; i++) {
      link.deliver(announcement({ id: "slave", addresses: ["10.0.0.66"] }), "10.0.0.66");
      await clock.advance(1_000);
    }
    expect(slave.warnings).toHaveLength(1);
    expect(slave.discovery.peers()).toContainEqual(
      expect.objectContaining({ id: "slave", state: "rejected", why: "has our id" }),
    );
    expect(master.discovery.peers()).toContainEqual(expect.objectContaining({ id: "slave", state: "seen" }));
    expect(slave.discovery.asCandidates().watch(() => undefined)).toBeTypeOf("function");
  });

  test("our announcement repeated by a reflector is no other machine", async () => {
    const { link, slave } = await pair();
    link.deliver(announcement({ id: "slave", addresses: ["10.0.0.2"] }), "10.0.0.254");
    expect(slave.warnings).toEqual([]);
    expect(slave.discovery.peers().map(({ id }) => id)).toEqual(["master"]);
  });

  test("another version of the protocol is rejected, with the reason", async () => {
    const { link, slave } = await pair();
    link.deliver(announcement({ id: "future", version: "2" }), "10.0.0.9");
    const why = "speaks another version of the protocol";
    expect(slave.discovery.peers()).toContainEqual(expect.objectContaining({ id: "future", state: "rejected", why }));
    link.deliver(announcement({ id: "future" }), "10.0.0.9");
    expect(slave.state("future")).toBe("seen");
  });

  test.each([
    ["from beyond the link", announcement({ id: "evil" }), "192.168.7.7", 5353],
    ["from another port", announcement({ id: "evil" }), "10.0.0.9", 40_000],
    ["with an id that is no token", announcement({ id: "evil\u001b[2J" }), "10.0.0.9", 5353],
    ["with an unknown mode", announcement({ id: "evil", mode: "king" }), "10.0.0.9", 5353],
    ["with port 0", announcement({ id: "evil", port: 0 }), "10.0.0.9", 5353],
    ["too large", Buffer.concat([announcement({ id: "evil" }), Buffer.alloc(9_000)]), "10.0.0.9", 5353],
    ["that promises more records than it has", cutShort(announcement({ id: "evil" })), "10.0.0.9", 5353],
    [
      "that claims 60 000 records",
      packet([{ name: DOMAIN, type: TYPE.PTR, ttl: 9, data: loop() }], { count: 60_000 }),
      "10.0.0.9",
      5353,
    ],
    [
      "with a name that points to itself",
      packet([{ name: DOMAIN, type: TYPE.PTR, ttl: 9, data: loop() }]),
      "10.0.0.9",
      5353,
    ],
    [
      "with an SRV record of three bytes",
      packet([{ name: `evil.${DOMAIN}`, type: TYPE.SRV, ttl: 9, data: Buffer.alloc(3) }]),
      "10.0.0.9",
      5353,
    ],
    [
      "that is an error",
      packet([{ name: DOMAIN, type: TYPE.PTR, ttl: 9, data: loop() }], { flags: 0x8403 }),
      "10.0.0.9",
      5353,
    ],
  ])("a packet %s is dropped", async (_what, bytes, from, port) => {
    const { clock, link, slave } = await pair();
    link.deliver(bytes, from, port);
    await clock.advance(2_000);
    expect(slave.discovery.peers().map(({ id }) => id)).toEqual(["master"]);
    expect(slave.warnings).toEqual([]);
  });

  test("every beginning and every changed byte of a packet is survived", async () => {
    const { clock, link, slave } = await pair();
    const whole = announcement({ id: "evil" });
    for (let at = 0; at < whole.length; at++) {
      link.deliver(whole.subarray(0, at), "10.0.0.9");
      const changed = Buffer.from(whole);
      changed[at] = 0xc0;
      link.deliver(changed, "10.0.0.9");
      await clock.advance(25);
    }
    expect(slave.state("master")).toBe("seen");
    expect(slave.warnings).toEqual([]);
  });

  test("a flood of questions is answered at a bounded rate", async () => {
    const { clock, link } = await pair();
    await clock.advance(60_000);
    const before = link.sent.length;
    for (let i = 0; i < 1_000; i++) link.deliver(question(DOMAIN, TYPE.PTR), `10.0.0.${3 + (i % 250)}`);
    link.deliver(question(DOMAIN, TYPE.PTR, 1_000), "10.0.0.9");
    await settle();
    // Two nodes, 40 each at once.
    expect(link.sent.length - before).toBeLessThanOrEqual(80);
    expect(link.sent.length - before).toBeGreaterThan(0);
  });
});

/** A name that is a pointer to its own place. */
function loop(): Buffer {
  return Buffer.from([0xc0, 12]);
}

function cutShort(bytes: Buffer): Buffer {
  return bytes.subarray(0, bytes.length - 7);
}
