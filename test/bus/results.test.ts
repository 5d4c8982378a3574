/** P2 with a real nats-server: the first result of an id stays, and the server sees to it. */
import { beforeEach, describe, expect, it } from "vitest";
import type { Bus } from "../../src/bus/bus.ts";
import { Publisher } from "../../src/bus/publisher.ts";
import { ResultStore, type StoreOutcome } from "../../src/bus/results.ts";
import { ensureTopology, streamInfo } from "../../src/bus/topology.ts";
import { systemClock } from "../../src/protocols/clock.ts";
import { silentLogger } from "../../src/protocols/logger.ts";
import { TOPOLOGY_DEFAULTS } from "../../src/protocols/streams.ts";
import { Names } from "../../src/protocols/subjects.ts";
import { useNats } from "../support/nats.ts";
import { PATIENT } from "../support/publishers.ts";
import { eventually, until } from "../support/wait.ts";

const nats = useNats();
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array | undefined): string => new TextDecoder().decode(data);
let swarms = 0;

describe("ResultStore", () => {
  let bus: Bus;
  let names: Names;
  let publisher: Publisher;
  let results: ResultStore;

  /** A swarm of its own, whose results may take this many bytes. */
  async function open(maxResultBytes = TOPOLOGY_DEFAULTS.maxResultBytes): Promise<void> {
    names = new Names(`r${swarms++}`);
    bus = await nats.bus();
    await ensureTopology(bus, names, { ...TOPOLOGY_DEFAULTS, maxResultBytes });
    publisher = new Publisher(bus, PATIENT);
    results = new ResultStore({ bus, publisher, names, clock: systemClock, logger: silentLogger });
  }

  function store(id: string, body: string, replyTo?: string): Promise<StoreOutcome> {
    return new Promise((resolve, reject) => {
      results.store("p", id, bytes(body), { replyTo, traceparent: undefined }, (error, outcome) =>
        outcome ? resolve(outcome) : reject(error),
      );
    });
  }

  beforeEach(() => open());

  it("P2: refuses a second result, keeps the first, and sends that one to the second's replyTo", async () => {
    expect(await store("a", "first")).toBe("stored");
    const inbox = bus.inbox();
    const answers: string[] = [];
    await bus.subscribe(inbox, ({ data }) => {
      answers.push(text(data));
    });
    expect(await store("a", "second", inbox)).toBe("already");
    await bus.flush();
    expect(answers).toEqual(["first"]);
    expect(text((await results.find("p", "a"))?.data)).toBe("first");
    expect((await streamInfo(bus, names.streams.results))?.messages).toBe(1);
  });

  it("P2: of many that are stored at once exactly one is", async () => {
    const outcomes = await Promise.all(Array.from({ length: 50 }, (_, i) => store("a", String(i))));
    expect(outcomes.filter((outcome) => outcome === "stored")).toHaveLength(1);
    expect(text((await results.find("p", "a"))?.data)).toBe(String(outcomes.indexOf("stored")));
  });

  it("does not take a second result for one that there is no room for", async () => {
    await store("a", "first");
    let refused = 0;
    let open = true;
    const outcomes = Promise.all(Array.from({ length: 50 }, (_, i) => store("a", String(i)))).finally(() => {
      open = false;
    });
    await until(() => {
      refused = Math.max(refused, results.refused);
      return !open;
    });
    expect(new Set(await outcomes)).toEqual(new Set(["already"]));
    expect(refused).toBe(0);
  });

  it("P1: keeps a result that a full stream refuses, and stores it when there is room", async () => {
    await open(20_000);
    let filled = 0;
    for (; results.refused === 0 && filled < 100; filled++) {
      const offered = store(`f${filled}`, "x".repeat(1_000));
      await Promise.race([offered, eventually(async () => (results.refused > 0 ? true : undefined), "a refusal")]);
    }
    expect(results.refused).toBe(1);
    const last = `f${filled - 1}`;
    expect(await results.find("p", last)).toBeUndefined();
    await bus.request("purge", `$JS.API.STREAM.PURGE.${names.streams.results}`, bytes("{}"), { timeoutMs: 5_000 });
    await eventually(async () => ((await results.find("p", last)) ? true : undefined), "the kept result to be stored");
    expect(results.refused).toBe(0);
  });

  it("finds those of many ids that have a result", async () => {
    await store("a", "1");
    await store("b", "2");
    const found = await results.findMany("p", ["a", "b", "c"]);
    expect(new Map([...found].map(([id, data]) => [id, text(data)]))).toEqual(
      new Map([
        ["a", "1"],
        ["b", "2"],
      ]),
    );
  });

  it("tells whoever waits that it closes", async () => {
    publisher.close();
    await expect(store("a", "1")).rejects.toMatchObject({ code: "SHUTTING_DOWN" });
  });
});
