/** Sees every record of a lane's rotation, from the first on: one message for each swap. */
import { decode } from "../../src/bus/codec/codec.ts";
import { readAll, StreamReader } from "../../src/bus/reader.ts";
import type { TaskResult } from "../../src/protocols/result.ts";
import { roster, rotationRecord } from "../../src/protocols/rotation.ts";
import { kvStream, kvSubject, type LaneName } from "../../src/protocols/subjects.ts";
import type { LaneIndex } from "../../test/faults/history.ts";
import type { BenchBroker } from "../swarm.ts";
import { checkExact } from "./exactness.ts";

const TIMEOUT_MS = 60_000;

export class RotationWatch {
  readonly #broker: BenchBroker;
  readonly #lane: LaneName;
  readonly #records: LaneIndex["records"][number][] = [];
  readonly #rosters: LaneIndex["rosters"][number][] = [];
  readonly #reader: StreamReader;

  constructor(broker: BenchBroker, lane: LaneName) {
    const { bus, names } = broker;
    const bucket = names.buckets.rotation;
    const recordSubject = kvSubject(bucket, names.rotationKey(lane));
    const rosterSubject = kvSubject(bucket, names.rosterKey(lane));
    this.#broker = broker;
    this.#lane = lane;
    this.#reader = new StreamReader(bus, {
      stream: kvStream(bucket),
      filter: kvSubject(bucket, ">"),
      from: "all",
      onMessage: ({ subject, data, sequence: revision }) => {
        if (subject === rosterSubject) this.#rosters.push({ revision, ranges: roster.parse(decode(data)).ranges });
        else if (subject === recordSubject)
          this.#records.push({ revision, record: rotationRecord.parse(decode(data)) });
      },
    });
  }

  start(): Promise<void> {
    return this.#reader.start();
  }

  stop(): void {
    this.#reader.stop();
  }

  /** As `checkExact`, of the results that are stored. */
  async check(drawn: number, tasks: number): Promise<number> {
    const { bus, names } = this.#broker;
    const options = {
      stream: names.streams.results,
      filter: names.result(this.#lane.pool, "*"),
      timeoutMs: TIMEOUT_MS,
    };
    const stored = await readAll(bus, "reading the results", { ...options, from: "all" });
    const results = stored.map(({ data }) => decode(data) as TaskResult);
    return checkExact({ ...this.#lane, records: this.#records, rosters: this.#rosters }, drawn, results, tasks);
  }
}
