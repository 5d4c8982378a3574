import { expect, test } from "vitest";
import { SECONDS_BUCKETS } from "../../src/metrics/buckets.ts";
import { LaneMeters, MAX_PAIRS } from "../../src/metrics/lane-meters.ts";
import { METRICS, type NodeNumbers, nodeMetrics } from "../../src/metrics/node-metrics.ts";

const quiet: NodeNumbers = {
  dispatcher: undefined,
  agents: undefined,
  resultsRefused: 0,
  reconnects: 0,
  connected: true,
  troubles: 0,
  broker: undefined,
};

function scrape(meters: LaneMeters, numbers: NodeNumbers = quiet): Promise<string> {
  return nodeMetrics({ version: "1.2.3", meters, numbers: () => numbers }).text();
}

test("tells what was counted of each lane, in the text format of Prometheus", async () => {
  const meters = new LaneMeters();
  const echo = meters.of({ pool: "default", kind: "echo" });
  echo.results.ok = 7;
  echo.results.failed = 2;
  echo.retries = 3;
  echo.queued.observeMs(3);
  echo.queued.observeMs(-5);
  echo.queued.observeMs(7_200_000);
  const text = await scrape(meters);
  expect(text).toContain("# TYPE vgas_tasks_total counter\n");
  expect(text).toContain('vgas_tasks_total{pool="default",kind="echo",status="ok"} 7\n');
  expect(text).toContain('vgas_tasks_total{pool="default",kind="echo",status="failed"} 2\n');
  expect(text).toContain('vgas_retries_total{pool="default",kind="echo"} 3\n');
  expect(text).toContain("# TYPE vgas_queue_seconds histogram\n");
  expect(text).toContain('vgas_queue_seconds_bucket{pool="default",kind="echo",le="0.001"} 1\n');
  expect(text).toContain('vgas_queue_seconds_bucket{pool="default",kind="echo",le="0.005"} 2\n');
  expect(text).toContain('vgas_queue_seconds_bucket{pool="default",kind="echo",le="3600"} 2\n');
  expect(text).toContain('vgas_queue_seconds_bucket{pool="default",kind="echo",le="+Inf"} 3\n');
  expect(text).toContain('vgas_queue_seconds_sum{pool="default",kind="echo"} 7200.003\n');
  expect(text).toContain('vgas_queue_seconds_count{pool="default",kind="echo"} 3\n');
  expect(text).toContain('vgas_build_info{version="1.2.3"');
  expect(text).toContain("process_cpu_user_seconds_total");
  expect(text).toContain("nodejs_eventloop_lag_seconds");
});

test("every line is a comment or a sample, and every metric of the table is there", async () => {
  const meters = new LaneMeters();
  meters.of({ pool: "default", kind: "echo" });
  const dispatcher = {
    ...{ inHand: 1, assigned: 2, openBursts: 3, heartbeats: 4, hosts: { up: 2, leaving: 1 } },
    lanes: [{ pool: "default", kind: "echo", swaps: 5, conflicts: 1, inHand: 1 }],
  };
  const agents = { agents: 4, slots: 64, running: 9, abandoned: 0 };
  const text = await scrape(meters, { ...quiet, dispatcher, agents });
  const sample = /^[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[0-9.e+-]+(?: \d+)?$/;
  const odd = text.split("\n").filter((line) => line !== "" && !line.startsWith("# ") && !sample.test(line));
  expect(odd.filter((line) => line.startsWith("vgas_"))).toEqual([]);
  for (const { name, type } of METRICS) {
    expect(text).toContain(`# TYPE ${name} ${type}\n`);
    expect(text, name).toMatch(new RegExp(`^${name}(_count)?[{ ]`, "m"));
  }
  expect(text).toContain('vgas_hosts{state="up"} 2\n');
  expect(text).toContain('vgas_cas_tries_total{pool="default",kind="echo"} 5\n');
  expect(text).toContain("vgas_slots 64\n");
});

test("counts that are read twice are not counted twice", async () => {
  const meters = new LaneMeters();
  meters.of({ pool: "p", kind: "k" }).results.ok = 5;
  const metrics = nodeMetrics({ version: "1", meters, numbers: () => quiet });
  await metrics.text();
  expect(await metrics.text()).toContain('vgas_tasks_total{pool="p",kind="k",status="ok"} 5\n');
});

test("ten thousand kinds make no more series than two hundred do, and none is lost", async () => {
  const meters = new LaneMeters();
  const lanes = Array.from({ length: 10_000 }, (_, i) => ({ pool: "p", kind: `kind-${i}` }));
  for (const lane of lanes) {
    meters.of(lane).results.ok++;
    meters.of(lane).ran.observeMs(1);
  }
  const rotations = lanes.map((lane) => ({ ...lane, swaps: 1, conflicts: 0, inHand: 0 }));
  const dispatcher = { inHand: 0, assigned: 0, openBursts: 0, heartbeats: 0, hosts: {}, lanes: rotations };
  const text = await scrape(meters, { ...quiet, dispatcher });
  const series = text.split("\n").filter((line) => line.startsWith("vgas_"));
  const perLane = 4 + 4 + 3 + 1 + 2 * (SECONDS_BUCKETS.length + 3);
  expect(series.length).toBeLessThan((MAX_PAIRS + 1) * perLane + 50);
  const other = 10_000 - MAX_PAIRS;
  expect(text).toContain(`vgas_tasks_total{pool="other",kind="other",status="ok"} ${other}\n`);
  expect(text).toContain(`vgas_cas_tries_total{pool="other",kind="other"} ${other}\n`);
  expect(text).toContain(`vgas_run_seconds_count{pool="other",kind="other"} ${other}\n`);
});

test("names that a client invents take no place of a lane", () => {
  const meters = new LaneMeters();
  const known = meters.of({ pool: "p", kind: "k" });
  expect(meters.known({ pool: "p", kind: "k" })).toBe(known);
  for (let i = 0; i < 1_000; i++) meters.known({ pool: "p", kind: `invented${i}` }).results.cancelled++;
  expect(meters.all().map(({ kind, results }) => [kind, results.cancelled])).toEqual([
    ["k", 0],
    ["other", 1_000],
  ]);
});
