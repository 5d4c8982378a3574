/** Two nodes with one id: who of them ends. The heartbeats are the test's own, over a real server. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Bus } from "../../src/bus/bus.ts";
import { decode, encode } from "../../src/bus/codec/codec.ts";
import { watchForCopies } from "../../src/host/copies.ts";
import type { VgasError } from "../../src/protocols/errors.ts";
import { type Heartbeat, hostStats } from "../../src/protocols/host-messages.ts";
import { Names } from "../../src/protocols/subjects.ts";
import { heartbeatOf } from "../support/heartbeat.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { useNats } from "../support/nats.ts";
import { RecordingLogger } from "../support/recording-logger.ts";

const nats = useNats();
const names = new Names();
const HOST = "n1";
const PERIOD_MS = 1_000;

describe("the watch for copies of a home", () => {
  let bus: Bus;
  let clock: ManualClock;
  let logger: RecordingLogger;
  let failures: VgasError[];
  const stops: (() => void)[] = [];
  let own: string;

  beforeEach(async () => {
    bus = await nats.bus();
    clock = new ManualClock();
    logger = new RecordingLogger();
    failures = [];
  });
  afterEach(() => {
    for (const stop of stops.splice(0)) stop();
  });

  const watch = async (run: string, beats = true): Promise<void> => {
    own = run;
    const fail = (error: VgasError): void => void failures.push(error);
    stops.push(
      await watchForCopies({
        ...{ bus, names, run, beats, clock, logger, fail },
        link: { hostId: HOST, server: undefined },
      }),
    );
  };
  /** Sent, and heard by whoever subscribes on the same connection. */
  const beat = async (fields: Partial<Heartbeat>): Promise<void> => {
    bus.publish(names.heartbeat(HOST), encode(heartbeatOf({ host: HOST, ...fields })));
    await bus.flush();
  };
  /** Ours is `mine` seconds old, the other one `theirs`; both go on for `seconds`. */
  const both = async (mine: number, theirs: number, seconds: number, other = "z"): Promise<void> => {
    for (let i = 0; i < seconds; i++) {
      await beat({ run: own, seq: mine + i });
      await beat({ run: other, seq: theirs + i, machine: "b\u001b[31mox", pid: 77 });
      await clock.advance(PERIOD_MS);
    }
  };
  it("ends the younger one, and names the other", async () => {
    await watch("m");
    await both(0, 40, 1);
    expect(failures).toEqual([]);
    await both(1, 41, 3);
    expect(failures.map(({ code }) => code)).toEqual(["HOME_COPIED"]);
    expect(failures[0]?.message).toContain("on b?[31mox, pid 77");
    expect(logger.lines).toEqual([]);
  });

  it("ends who has not lived for a beat", async () => {
    await watch("m");
    await beat({ run: "z", seq: 0 });
    await clock.advance(PERIOD_MS);
    await beat({ run: "z", seq: 1 });
    expect(failures).toHaveLength(1);
  });

  it("keeps the older one, which warns once", async () => {
    await watch("m");
    await both(40, 0, 10);
    expect(failures).toEqual([]);
    expect(logger.lines.map(({ level, fields }) => ({ level, ...fields }))).toEqual([
      { level: "warn", host: HOST, machine: "b?[31mox", pid: 77 },
    ]);
  });

  it.each([-1, 0, 1])("ends the greater run of two of one age, give or take a beat: %s", async (difference) => {
    await watch("m");
    await both(40, 40 + difference, 3, "z");
    expect(failures).toEqual([]);
    await both(50, 50 + difference, 3, "a");
    expect(failures).toHaveLength(1);
  });

  it("waits for the other one, if that could judge them to be of one age", async () => {
    await watch("a");
    await both(10, 12, 4);
    expect(failures).toEqual([]);
    await both(14, 16, 4);
    expect(failures).toHaveLength(1);
  });

  it("takes no notice of a life that was killed, nor of what had waited on its connection", async () => {
    await watch("m");
    for (let seq = 50; seq < 60; seq++) await beat({ run: "z", seq });
    await both(0, 60, 1);
    await clock.advance(10 * PERIOD_MS);
    await beat({ run: "m", seq: 10 });
    expect(failures).toEqual([]);
  });

  it("takes no notice of a run that drains, of its own run after its thread ended, of other ids and of rubbish", async () => {
    await watch("m");
    await beat({ run: "m", seq: 10 });
    for (let i = 0; i < 3; i++) {
      await beat({ run: "z", seq: 50 + i, draining: true });
      await beat({ host: "n2", run: "y", seq: 50 + i });
      await beat({ run: "m", seq: 20 + i });
      bus.publish(names.heartbeat(HOST), new Uint8Array([1, 2, 3]));
      await clock.advance(PERIOD_MS);
    }
    expect(failures).toEqual([]);
    expect(logger.lines).toEqual([]);
  });

  it("lets a node without agents answer for its id, and make way", async () => {
    await watch("m", false);
    const answer = await bus.request("stats", names.host(HOST, "stats"), new Uint8Array(), { timeoutMs: 5_000 });
    expect(hostStats.parse(decode(answer.data))).toMatchObject({ host: HOST, run: "m", running: [] });
    await beat({ run: "z", seq: 0 });
    await clock.advance(PERIOD_MS);
    await beat({ run: "z", seq: 1 });
    expect(failures).toHaveLength(1);
  });

  it("does not watch the node that owns the broker", async () => {
    const server = {} as never;
    const fail = (error: VgasError): void => void failures.push(error);
    stops.push(
      await watchForCopies({
        ...{ bus, names, run: "m", beats: true, clock, logger, fail },
        link: { hostId: HOST, server },
      }),
    );
    await both(0, 50, 3);
    expect(failures).toEqual([]);
  });
});
