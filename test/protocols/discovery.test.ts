import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  formatText,
  isAnnounceable,
  NODE_MODES,
  PEER_STATES,
  parseText,
  type SelfDescription,
  speaksOurVersion,
} from "../../src/protocols/discovery.ts";

const token = fc.stringMatching(/^[A-Za-z0-9_-]{1,63}$/);
const port = fc.integer({ min: 1, max: 65_535 });
const some = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });

const self: fc.Arbitrary<SelfDescription> = fc.record({
  hostId: token,
  mode: fc.constantFrom(...NODE_MODES),
  swarmId: some(fc.stringMatching(/^[a-z2-7]{10}$/)),
  pin: some(fc.stringMatching(/^[A-Za-z0-9_-]{43}$/)),
  httpPort: port,
  natsPort: some(port),
});

const strings = (fields: Record<string, string>) =>
  Object.entries(fields).map(([key, value]) => Buffer.from(`${key}=${value}`));
const WELL_FORMED = { v: "1", id: "node", mode: "master", swarm: "abcdefghij", nats: "4222", pin: "0123456789abcdef" };

describe("the TXT record", () => {
  test("what is written is read, and nothing of it is longer than a string of a record may be", () => {
    fc.assert(
      fc.property(self, (given) => {
        const written = strings(formatText(given));
        expect(written.every(({ length }) => length <= 255)).toBe(true);
        const { hostId: id, mode, swarmId: swarm, natsPort, pin } = given;
        const read = parseText(written);
        expect(read).toEqual(
          JSON.parse(JSON.stringify({ version: 1, id, mode, swarm, natsPort, pinPrefix: pin?.slice(0, 16) })),
        );
        expect(read !== undefined && speaksOurVersion(read)).toBe(true);
      }),
    );
  });

  test("any bytes at all are read without an error, and what is read is well formed", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc
        .tuple(fc.constantFrom(...Object.keys(WELL_FORMED)), fc.string())
        .map(([key, value]) => Buffer.from(`${key}=${value}`)),
      fc.constantFrom(...strings(WELL_FORMED)),
    );
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 40 }), (given) => {
        const read = parseText(given);
        if (read === undefined) return;
        expect(read.id).toMatch(/^[A-Za-z0-9_-]{1,63}$/);
        expect(NODE_MODES).toContain(read.mode);
        expect(read.swarm ?? "a").toMatch(/^[a-z0-9]{1,16}$/);
        expect(read.pinPrefix ?? "0123456789abcdef").toMatch(/^[A-Za-z0-9_-]{16}$/);
        expect(read.natsPort ?? 1).toBeGreaterThanOrEqual(1);
        expect(read.natsPort ?? 1).toBeLessThanOrEqual(65_535);
      }),
    );
  });

  test.each([
    ["id", "a.b"],
    ["id", ""],
    ["id", "a\u0000b"],
    ["id", "x".repeat(64)],
    ["mode", "king"],
    ["v", "0"],
    ["v", "1 "],
    ["swarm", "ABCDEFGHIJ"],
    ["swarm", "abc\ndef"],
    ["nats", "65536"],
    ["nats", "-1"],
    ["nats", "4222\n"],
    ["pin", "short"],
  ])("is refused with %s = %j", (key, value) => {
    expect(parseText(strings({ ...WELL_FORMED, [key]: value }))).toBeUndefined();
  });

  test("is refused if it is too long", () => {
    expect(parseText([...strings(WELL_FORMED), Buffer.alloc(256)])).toBeUndefined();
    expect(parseText(Array.from({ length: 40 }, () => Buffer.from("x=y")))).toBeUndefined();
  });

  test("keys that others add, and keys in capitals, do no harm; of two the first counts", () => {
    const read = parseText([
      ...strings({ ID: "node", V: "1", mode: "slave", extra: "1", __proto__: "x" }),
      ...strings({ id: "b" }),
    ]);
    expect(read).toEqual({ version: 1, id: "node", mode: "slave" });
  });
});

test("an id of 64 characters is no label of a name", () => {
  expect(isAnnounceable("x".repeat(63))).toBe(true);
  expect(isAnnounceable("x".repeat(64))).toBe(false);
});

test("the states of a peer are those of the design", () => {
  expect(PEER_STATES).toEqual(["seen", "dialing", "joining", "joined", "rejected", "lost"]);
});
