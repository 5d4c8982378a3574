import { expect, test } from "vitest";
import { leaks, type Watched } from "./criteria.ts";
import type { Sample } from "./probes.ts";

const MIB = 2 ** 20;
const SAMPLE: Sample = {
  ...{ pid: 1, rss: 100 * MIB, threads: 11, files: 18, sockets: 3 },
  ...{ heap: 20 * MIB, external: 3 * MIB, timers: 15 },
};
const host = (end: Partial<Sample>): Watched => ({
  ...{ name: "host-0", role: "host", lives: 3, warm: SAMPLE },
  end: { ...SAMPLE, pid: 2, ...end },
});
const broker = (name: string, warm: number, end: number): Watched => {
  const sample = { pid: 1, rss: 0, threads: 9, files: 40 };
  return { name, role: "broker", lives: 1, warm: { ...sample, sockets: warm }, end: { ...sample, sockets: end } };
};

test("what is as it was when warm, or a little more, is no leak", () => {
  expect(leaks([host({}), host({ heap: 25 * MIB, files: 19, timers: 18, threads: 12, rss: 300 * MIB })])).toEqual([]);
});

test.each<[Partial<Sample>, string]>([
  [{ heap: 30 * MIB }, "host-0 has 30.0 MiB of heap, 20.0 MiB when it was warm: more than 29.0 MiB"],
  [{ external: 12 * MIB }, "host-0 has 12.0 MiB of buffers, 3.0 MiB when it was warm: more than 11.8 MiB"],
  [{ sockets: 5 }, "host-0 has 5 sockets, 3 when it was warm: more than 4"],
  [{ files: 21 }, "host-0 has 21 files, 18 when it was warm: more than 20"],
  [{ timers: 30 }, "host-0 has 30 timers, 15 when it was warm: more than 21"],
  [{ threads: 16 }, "host-0 has 16 threads, 11 when it was warm: more than 15"],
])("says what is more than it may be: %o", (end, said) => {
  expect(leaks([host(end)])).toEqual([said]);
});

test("clients may move from broker to broker, but not become more", () => {
  expect(leaks([broker("broker-0", 14, 20), broker("broker-1", 20, 14)])).toEqual([]);
  expect(leaks([broker("broker-0", 14, 20), broker("broker-1", 20, 17)])).toEqual([
    "the brokers have 37 sockets in all, 34 when they were warm",
  ]);
});
