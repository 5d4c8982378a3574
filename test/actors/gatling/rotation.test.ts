/** P3 with a real nats-server: what is stored decides, whatever answers are lost. */
import { beforeEach, describe, expect, it } from "vitest";
import { Rotation } from "../../../src/actors/gatling/rotation.ts";
import { KvBucket } from "../../../src/bus/kv.ts";
import { Publisher } from "../../../src/bus/publisher.ts";
import { ensureTopology } from "../../../src/bus/topology.ts";
import { VgasError } from "../../../src/protocols/errors.ts";
import { silentLogger } from "../../../src/protocols/logger.ts";
import type { RosterRange } from "../../../src/protocols/rotation.ts";
import { TOPOLOGY_DEFAULTS } from "../../../src/protocols/streams.ts";
import { Names } from "../../../src/protocols/subjects.ts";
import { useNats } from "../../support/nats.ts";

const nats = useNats();
const names = new Names();
const ROSTER: readonly RosterRange[] = [{ host: "a", run: "r", first: 0, count: 3, slots: 2 }];
let kind = 0;
let nonce = 0;

/** Stores what it is given and, when told so, loses the answer. */
class LossyBucket extends KvBucket {
  loseAnswers = false;
  loseWrites = false;

  override async cas(...args: Parameters<KvBucket["cas"]>): Promise<number> {
    const lost = new VgasError("TIMEOUT", "the answer was lost");
    if (this.loseWrites) throw lost;
    const revision = await super.cas(...args);
    if (this.loseAnswers) throw lost;
    return revision;
  }
}

describe("Rotation", () => {
  let bucket: LossyBucket;
  let lane: { pool: string; kind: string };

  beforeEach(async () => {
    const bus = await nats.bus();
    await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
    bucket = new LossyBucket(bus, new Publisher(bus), names.buckets.rotation);
    lane = { pool: "default", kind: `k${kind++}` };
  });

  const rotation = (by: string): Rotation =>
    new Rotation({ bucket, names, lane, by, nonce: () => `${by}${nonce++}`, logger: silentLogger });

  it("has nothing before a roster was written, and begins at ticket 0 then", async () => {
    const a = rotation("a");
    expect(await a.load()).toBe(false);
    await a.replaceRoster(ROSTER);
    expect([a.index, a.base, a.ranges]).toEqual([0, 0, ROSTER]);
    const b = rotation("b");
    expect(await b.load()).toBe(true);
    expect(b.ranges).toEqual(ROSTER);
  });

  it("P3: of two dispatchers that draw at once one wins, and the other sees its index", async () => {
    const [a, b] = [rotation("a"), rotation("b")];
    await a.replaceRoster(ROSTER);
    await b.load();
    expect(await a.advance(5, 100)).toBe("won");
    expect(await b.advance(7, 200)).toBe("lost");
    expect(b.index).toBe(5);
    expect(await b.advance(7, 200)).toBe("won");
    await a.load();
    expect([a.index, a.dealt]).toEqual([12, 200]);
  });

  it("P3: recognises a swap as won whose answer was lost, also when others wrote since", async () => {
    const [a, b] = [rotation("a"), rotation("b")];
    await a.replaceRoster(ROSTER);
    await b.load();
    bucket.loseAnswers = true;
    expect(await a.advance(4, 1)).toBe("won");
    bucket.loseAnswers = false;
    expect(a.index).toBe(4);
    await b.load();
    expect(await b.advance(1, 2)).toBe("won");
    expect(b.index).toBe(5);
  });

  it("P3: draws again when a swap whose answer was lost was not stored", async () => {
    const a = rotation("a");
    await a.replaceRoster(ROSTER);
    bucket.loseWrites = true;
    expect(await a.advance(4, 1)).toBe("lost");
    bucket.loseWrites = false;
    expect(a.index).toBe(0);
    expect(await a.advance(4, 1)).toBe("won");
    expect(a.index).toBe(4);
  });

  it("P4: a new roster counts from the index at which it came into force, for everybody", async () => {
    const [a, b] = [rotation("a"), rotation("b")];
    await a.replaceRoster(ROSTER);
    await b.load();
    await a.advance(10, 0);
    const wider = [...ROSTER, { host: "b", run: "r", first: 0, count: 1, slots: 1 }];
    await a.replaceRoster(wider);
    expect([a.index, a.base, a.ranges]).toEqual([10, 10, wider]);
    expect(await b.advance(1, 0)).toBe("lost");
    expect([b.index, b.base, b.ranges]).toEqual([10, 10, wider]);
  });

  it("P3: goes on where the rotation was when rubbish is written over its record, and writes over that", async () => {
    const [a, b] = [rotation("a"), rotation("b")];
    await a.replaceRoster(ROSTER);
    expect(await a.advance(7, 300)).toBe("won");
    const rubbish = new TextEncoder().encode('{"type":"io.nats.jetstream.api.v1.stream_info_response"}');
    const key = names.rotationKey(lane);
    await bucket.put(key, rubbish);
    expect(await b.load()).toBe(true);
    expect([b.index, b.dealt, b.ranges]).toEqual([7, 300, ROSTER]);
    expect(await a.advance(2, 301)).toBe("lost");
    expect(await a.advance(2, 301)).toBe("won");
    await b.load();
    expect(b.index).toBe(9);
    // So often that the history keeps nothing else, and over the roster too.
    for (let i = 0; i < 16; i++) await bucket.put(key, rubbish);
    await bucket.put(names.rosterKey(lane), rubbish);
    expect(await b.load()).toBe(false);
    expect(b.ranges).toEqual([]);
    await b.replaceRoster(ROSTER);
    expect([b.index, b.base]).toEqual([9, 9]);
    expect(await a.load()).toBe(true);
    expect([a.index, a.ranges]).toEqual([9, ROSTER]);
  });

  it("begins anew, behind what it knows, when somebody removes the record", async () => {
    const a = rotation("a");
    await a.replaceRoster(ROSTER);
    await a.advance(4, 1);
    await bucket.delete(names.rotationKey(lane));
    expect(await a.advance(1, 2)).toBe("lost");
    await a.replaceRoster(ROSTER);
    expect([a.index, a.base, a.ranges]).toEqual([4, 4, ROSTER]);
    expect(await a.advance(1, 2)).toBe("won");
  });

  it("reports a roster that another dispatcher wrote first as a conflict, and loses nothing", async () => {
    const [a, b] = [rotation("a"), rotation("b")];
    await Promise.allSettled([a.replaceRoster(ROSTER), b.replaceRoster([])]);
    await a.load();
    await b.load();
    expect(a.ranges).toEqual(b.ranges);
    expect(a.index).toBe(0);
  });
});
