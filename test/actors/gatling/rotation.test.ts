/** P3 with a real nats-server: what is stored decides, whatever answers are lost. */
import { beforeEach, describe, expect, it } from "vitest";
import { type Dealt, NOTHING_DEALT } from "../../../src/actors/gatling/dealt.ts";
import { Rotation } from "../../../src/actors/gatling/rotation.ts";
import { KvBucket } from "../../../src/bus/kv.ts";
import { Publisher } from "../../../src/bus/publisher.ts";
import { VgasError } from "../../../src/protocols/errors.ts";
import { silentLogger } from "../../../src/protocols/logger.ts";
import type { RosterRange } from "../../../src/protocols/rotation.ts";
import { kvStream, kvSubject, Names } from "../../../src/protocols/subjects.ts";
import { useNats } from "../../support/nats.ts";
import { makeStream } from "../../support/streams.ts";

const nats = useNats();
const names = new Names();
const ROSTER: readonly RosterRange[] = [{ host: "a", run: "r", first: 0, count: 3, slots: 2 }];
let kind = 0;
let nonce = 0;

const WIDER: readonly RosterRange[] = [...ROSTER, { host: "b", run: "r", first: 0, count: 1, slots: 1 }];
const RUBBISH = new TextEncoder().encode('{"type":"io.nats.jetstream.api.v1.stream_info_response"}');

/** Stores what it is given and, when told so, loses the answer. */
class LossyBucket extends KvBucket {
  loseAnswers = false;
  loseWrites = false;
  /** A key whose history times out, once. */
  failHistoryOf: string | undefined;
  /** A key whose next write is stored and its answer lost, and what happens meanwhile. */
  loseAnswerOf: { readonly key: string; readonly meanwhile: () => Promise<unknown> } | undefined;
  /** A key whose next write is on its way until the one after it. */
  delayWriteOf: string | undefined;
  #delayed: Parameters<KvBucket["cas"]> | undefined;

  override async cas(...args: Parameters<KvBucket["cas"]>): Promise<number> {
    const lost = new VgasError("TIMEOUT", "the answer was lost");
    if (this.delayWriteOf === args[0]) {
      this.delayWriteOf = undefined;
      this.#delayed = args;
      throw lost;
    }
    if (this.#delayed !== undefined) await super.cas(...this.#delayed);
    this.#delayed = undefined;
    if (this.loseWrites) throw lost;
    const revision = await super.cas(...args);
    if (this.loseAnswers) throw lost;
    const { loseAnswerOf } = this;
    if (loseAnswerOf?.key !== args[0]) return revision;
    this.loseAnswerOf = undefined;
    await loseAnswerOf.meanwhile();
    throw lost;
  }

  override async history(key: string): ReturnType<KvBucket["history"]> {
    if (this.failHistoryOf !== key) return super.history(key);
    this.failHistoryOf = undefined;
    throw new VgasError("TIMEOUT", "the history did not come");
  }
}

const dealt = (normal: number): Dealt => ({ ...NOTHING_DEALT, normal });

describe("Rotation", () => {
  let bucket: LossyBucket;
  let publisher: Publisher;
  let lane: { pool: string; kind: string };

  beforeEach(async () => {
    const bus = await nats.bus();
    // As somebody else made it: in ours nothing can be purged.
    await makeStream(bus, kvStream(names.buckets.rotation), {
      ...{ subjects: [kvSubject(names.buckets.rotation, ">")], max_msgs_per_subject: 16 },
      ...{ allow_rollup_hdrs: true, allow_direct: false },
    });
    publisher = new Publisher(bus);
    bucket = new LossyBucket(bus, publisher, names.buckets.rotation);
    lane = { pool: "default", kind: `k${kind++}` };
  });

  const rotation = (by: string): Rotation =>
    new Rotation({ bucket, names, lane, by, nonce: () => `${by}${nonce++}`, logger: silentLogger });

  /** As `nats kv purge`: a marker, and nothing of what was before. */
  const purge = (key: string): Promise<unknown> =>
    publisher.publish(kvSubject(bucket.name, key), new Uint8Array(), {
      headers: { "KV-Operation": "PURGE", "Nats-Rollup": "sub" },
    });

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
    expect(await a.advance(5, dealt(100))).toBe("won");
    expect(await b.advance(7, dealt(200))).toBe("lost");
    expect(b.index).toBe(5);
    expect(await b.advance(7, dealt(200))).toBe("won");
    await a.load();
    expect([a.index, a.dealt.normal]).toEqual([12, 200]);
  });

  it("P3: recognises a swap as won whose answer was lost, also when others wrote since", async () => {
    const [a, b] = [rotation("a"), rotation("b")];
    await a.replaceRoster(ROSTER);
    await b.load();
    bucket.loseAnswers = true;
    expect(await a.advance(4, dealt(1))).toBe("won");
    bucket.loseAnswers = false;
    expect(a.index).toBe(4);
    await b.load();
    expect(await b.advance(1, dealt(2))).toBe("won");
    expect(b.index).toBe(5);
  });

  it("P3: draws again when a swap whose answer was lost was not stored", async () => {
    const a = rotation("a");
    await a.replaceRoster(ROSTER);
    bucket.loseWrites = true;
    expect(await a.advance(4, dealt(1))).toBe("lost");
    bucket.loseWrites = false;
    expect(a.index).toBe(0);
    expect(await a.advance(4, dealt(1))).toBe("won");
    expect(a.index).toBe(4);
  });

  it("P4: a new roster counts from the index at which it came into force, for everybody", async () => {
    const [a, b] = [rotation("a"), rotation("b")];
    await a.replaceRoster(ROSTER);
    await b.load();
    await a.advance(10, dealt(0));
    await a.replaceRoster(WIDER);
    expect([a.index, a.base, a.ranges]).toEqual([10, 10, WIDER]);
    expect(await b.advance(1, dealt(0))).toBe("lost");
    expect([b.index, b.base, b.ranges]).toEqual([10, 10, WIDER]);
  });

  it("P4: a roster whose swap's answer was lost is not taken for the newer one that is in force by then", async () => {
    const [a, b] = [rotation("a"), rotation("b")];
    await a.replaceRoster(ROSTER);
    await b.load();
    bucket.loseAnswerOf = { key: names.rotationKey(lane), meanwhile: () => b.replaceRoster(WIDER) };
    await a.replaceRoster([]);
    expect(a.ranges).toEqual(WIDER);
    expect(await a.advance(1, dealt(0))).toBe("won");
  });

  it("P4: a roster whose swap arrived after it was taken for lost does not begin a second time", async () => {
    const a = rotation("a");
    await a.replaceRoster(ROSTER);
    await a.advance(4, dealt(1));
    bucket.delayWriteOf = names.rotationKey(lane);
    await a.replaceRoster(WIDER);
    expect(a.base).toBe(4);
    expect(a.ranges).toEqual(WIDER);
    const written = (await bucket.history(names.rotationKey(lane))).length;
    expect(written).toBe(3);
  });

  it("P4: a roster is put in force once, also where its swap's answer was lost and too much was written since to find it", async () => {
    const [a, b] = [rotation("a"), rotation("b")];
    await a.replaceRoster(ROSTER);
    await a.advance(4, dealt(1));
    const meanwhile = async (): Promise<void> => {
      await b.load();
      for (let i = 0; i < 16; i++) await b.advance(1, dealt(2 + i));
    };
    bucket.loseAnswerOf = { key: names.rotationKey(lane), meanwhile };
    await a.replaceRoster(WIDER);
    expect(bucket.loseAnswerOf).toBeUndefined();
    expect([a.index, a.base, a.ranges]).toEqual([20, 4, WIDER]);
    await b.load();
    expect([b.index, b.base]).toEqual([20, 4]);
  });

  it("P3: hands out nothing that another did when the roster, or the history of an overwritten record, cannot be read", async () => {
    const [a, b] = [rotation("a"), rotation("b")];
    await a.replaceRoster(ROSTER);
    expect(await a.advance(500, dealt(1))).toBe("won");
    await b.load();
    await b.replaceRoster(WIDER);
    expect(await b.advance(100, dealt(600))).toBe("won");
    bucket.failHistoryOf = names.rosterKey(lane);
    await expect(a.advance(10, dealt(601))).rejects.toMatchObject({ code: "TIMEOUT" });
    // As it was: neither half of the new reading.
    expect([a.index, a.base, a.dealt.normal, a.ranges]).toEqual([500, 0, 1, ROSTER]);
    expect(await a.advance(10, dealt(601))).toBe("lost");
    expect([a.index, a.base, a.dealt.normal, a.ranges]).toEqual([600, 500, 600, WIDER]);

    expect(await b.advance(100, dealt(700))).toBe("won");
    await bucket.put(names.rotationKey(lane), RUBBISH);
    bucket.failHistoryOf = names.rotationKey(lane);
    await expect(a.advance(10, dealt(701))).rejects.toMatchObject({ code: "TIMEOUT" });
    expect(a.index).toBe(600);
    expect(await a.advance(10, dealt(701))).toBe("lost");
    expect(await a.advance(10, dealt(701))).toBe("won");
    expect(a.index).toBe(710);
  });

  it("P3: goes on where the rotation was when rubbish is written over its record, and writes over that", async () => {
    const [a, b] = [rotation("a"), rotation("b")];
    await a.replaceRoster(ROSTER);
    expect(await a.advance(7, dealt(300))).toBe("won");
    const key = names.rotationKey(lane);
    await bucket.put(key, RUBBISH);
    expect(await b.load()).toBe(true);
    expect([b.index, b.dealt.normal, b.ranges]).toEqual([7, 300, ROSTER]);
    expect(await a.advance(2, dealt(301))).toBe("lost");
    expect(await a.advance(2, dealt(301))).toBe("won");
    await b.load();
    expect(b.index).toBe(9);
    // So often that the history keeps nothing else, and over the roster too.
    for (let i = 0; i < 16; i++) await bucket.put(key, RUBBISH);
    await bucket.put(names.rosterKey(lane), RUBBISH);
    expect(await b.load()).toBe(false);
    expect(b.ranges).toEqual([]);
    await b.replaceRoster(ROSTER);
    expect([b.index, b.base]).toEqual([9, 9]);
    expect(await a.load()).toBe(true);
    expect([a.index, a.ranges]).toEqual([9, ROSTER]);
  });

  it("P3: goes on where the rotation was when somebody deletes its record, also for who starts only then", async () => {
    const [a, b] = [rotation("a"), rotation("b")];
    await a.replaceRoster(ROSTER);
    await a.advance(500, dealt(9));
    await bucket.delete(names.rotationKey(lane));
    expect(await b.load()).toBe(true);
    expect([b.index, b.base, b.dealt.normal, b.ranges]).toEqual([500, 0, 9, ROSTER]);
    expect(await b.advance(1, dealt(10))).toBe("won");
    expect(await a.advance(1, dealt(11))).toBe("lost");
    expect(a.index).toBe(501);
    expect(await a.advance(1, dealt(11))).toBe("won");
  });

  it("P3: a rotation that somebody began anew goes on behind what any living dispatcher has seen", async () => {
    const [a, b] = [rotation("a"), rotation("b")];
    await a.replaceRoster(ROSTER);
    await a.advance(500, dealt(9));
    await purge(names.rotationKey(lane));
    // It cannot know better.
    expect(await b.load()).toBe(false);
    await b.replaceRoster(WIDER);
    expect(await b.advance(3, dealt(4))).toBe("won");
    expect(b.index).toBe(3);
    expect(await a.advance(10, dealt(10))).toBe("lost");
    expect([a.index, a.base, a.dealt.normal, a.ranges]).toEqual([500, 500, 9, WIDER]);
    expect(await b.advance(1, dealt(11))).toBe("lost");
    expect([b.index, b.base, b.dealt.normal]).toEqual([500, 500, 9]);
    expect(await b.advance(1, dealt(11))).toBe("won");
    await a.load();
    expect([a.index, a.base]).toEqual([501, 500]);
  });

  it("P3: of two that lift such a rotation at once the one that has seen more prevails", async () => {
    const [a, b, c] = [rotation("a"), rotation("b"), rotation("c")];
    await a.replaceRoster(ROSTER);
    await a.advance(500, dealt(1));
    await b.load();
    await b.advance(100, dealt(2));
    await purge(names.rotationKey(lane));
    await c.replaceRoster(ROSTER);
    await Promise.all([a.load(), b.load()]);
    await a.load();
    expect([a.index, a.base, b.index]).toEqual([600, 600, 600]);
    // A lift whose answer is lost changes nothing here, and is found there at the next reading.
    await purge(names.rotationKey(lane));
    await rotation("d").replaceRoster(ROSTER);
    bucket.loseAnswerOf = { key: names.rotationKey(lane), meanwhile: async () => undefined };
    await expect(a.advance(1, dealt(3))).rejects.toMatchObject({ code: "TIMEOUT" });
    expect(await a.advance(1, dealt(3))).toBe("lost");
    expect([a.index, a.base]).toEqual([600, 600]);
  });

  it("begins anew, behind what it knows, when nothing is kept of the record", async () => {
    const a = rotation("a");
    await a.replaceRoster(ROSTER);
    await a.advance(4, dealt(1));
    await purge(names.rotationKey(lane));
    expect(await a.advance(1, dealt(2))).toBe("lost");
    await a.replaceRoster(ROSTER);
    expect([a.index, a.base, a.ranges]).toEqual([4, 4, ROSTER]);
    expect(await a.advance(1, dealt(2))).toBe("won");
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
