/** What was measured as tables, and what of it is judged. */
import type { Bar, Chart, Report, Samples, Table } from "../benchmark.ts";
import { ratios } from "../statistics.ts";
import type { Measured } from "./measured.ts";
import type { Plan } from "./plan.ts";
import { SLOTS, SMALLEST } from "./trial.ts";

const AGENTS = SMALLEST.agents;
const RATE = { title: "tasks/s" };
const SHARE = { title: "of the smallest", digits: 2 };
const HEAP = { title: "heap, MiB", digits: 1 };

export function reportOf(plan: Plan, measured: Measured): Report {
  const most = plan.agents.at(-1) as number;
  const kilobytes = perAgent(measured, most, "heap");
  return {
    tables: [
      agents(plan, measured),
      waiting(plan, measured),
      ...(plan.hosts.length > 0 ? [hosts(plan, measured)] : []),
      ...(plan.lanes.length > 0 ? [lanes(plan, measured)] : []),
      bytes(plan, measured),
    ],
    charts: [chart(plan, measured)],
    targets: [
      {
        what: `${most.toLocaleString("en")} agents`,
        unit: `of ${AGENTS} agents`,
        samples: ratios(measured.of(`${most} agents`), measured.of(`${AGENTS} agents`)),
        bound: { atLeast: 0.9 },
      },
      {
        what: `${plan.waiting.toLocaleString("en")} waiting tasks`,
        unit: "of a short queue",
        samples: ratios(measured.of("many waiting"), measured.of("few waiting")),
        bound: { atLeast: 0.9 },
      },
      { what: "memory of an idle agent", unit: "KB", samples: kilobytes, digits: 1, bound: { atMost: 6 } },
    ],
    notes: [
      `An agent has ${SLOTS} slots, and ${plan.tasks.toLocaleString("en")} tasks are measured where nothing else is said; the memory of a node (dispatcher and host) is its heap and buffers after a collection, when the tasks are done.`,
      "An idle agent's memory is what a node with many agents takes more than one with few, for each agent more: the agent of the host and the dispatcher's picture of it.",
    ],
    notCompared: [],
  };
}

/** What is judged, as shares of the smallest case. */
function chart(plan: Plan, measured: Measured): Chart {
  const bar = (label: string, name: string, smallest: string): Bar => ({
    label,
    samples: ratios(measured.of(name), measured.of(smallest)),
    of: "vgas",
  });
  const counted = (count: number): string => count.toLocaleString("en");
  return {
    title: "As the swarm grows",
    unit: "throughput, of its own smallest case, more is better",
    digits: 2,
    bars: [
      ...plan.agents.map((count) => bar(`${counted(count)} agents on a host`, `${count} agents`, `${AGENTS} agents`)),
      bar(`${counted(plan.waiting)} waiting tasks`, "many waiting", "few waiting"),
    ],
  };
}

/** KB that one agent more takes. */
function perAgent(measured: Measured, agents: number, what: "heap" | "rss"): Samples {
  const few = measured.of(`${AGENTS} agents, ${what}`);
  return measured
    .of(`${agents} agents, ${what}`)
    .map((mebibytes, i) => ((mebibytes - (few[i] ?? Number.NaN)) * 2 ** 20) / (agents - AGENTS) / 1_000);
}

function agents({ agents: counts }: Plan, measured: Measured): Table {
  const of = (what: string, count: number): Samples => measured.of(`${count} agents${what}`);
  return {
    title: "Agents on one host",
    columns: [
      { title: "agents" },
      RATE,
      SHARE,
      HEAP,
      { title: "KB for each agent more", digits: 1 },
      { title: "resident, MiB" },
      { title: "KB for each agent more", digits: 1 },
    ],
    rows: [AGENTS, ...counts].map((count) => [
      count.toLocaleString("en"),
      of("", count),
      count === AGENTS ? "1" : ratios(of("", count), of("", AGENTS)),
      of(", heap", count),
      count === AGENTS ? "-" : perAgent(measured, count, "heap"),
      of(", rss", count),
      count === AGENTS ? "-" : perAgent(measured, count, "rss"),
    ]),
  };
}

function waiting(_plan: Plan, measured: Measured): Table {
  return {
    title: "Tasks that wait (messages of one task of 200 bytes), while they are drained",
    columns: [
      { title: "queue" },
      { title: "left at the end" },
      RATE,
      SHARE,
      HEAP,
      { title: "nats-server, resident MiB" },
    ],
    rows: ["few waiting", "many waiting"].map((name) => [
      name,
      measured.of(`${name}, left`),
      measured.of(name),
      name === "few waiting" ? "1" : ratios(measured.of(name), measured.of("few waiting")),
      measured.of(`${name}, heap`),
      measured.of(`${name}, broker`),
    ]),
  };
}

function hosts(plan: Plan, measured: Measured): Table {
  return {
    title: `Hosts, ${AGENTS} agents each, in processes of their own; one of them has the dispatcher`,
    columns: [{ title: "hosts" }, RATE, SHARE],
    rows: [1, ...plan.hosts].map((count) => row(measured, String(count), `${count} hosts`, "1 hosts")),
  };
}

function lanes(plan: Plan, measured: Measured): Table {
  const smallest = `${AGENTS} agents`;
  const shared = `${plan.lanes.at(-1)} lanes of the same agents`;
  return {
    title: `Lanes of one node, ${AGENTS} agents each, with tasks for all at once`,
    columns: [{ title: "lanes" }, RATE, SHARE],
    rows: [
      row(measured, "1", smallest, smallest),
      ...plan.lanes.map((count) => row(measured, String(count), `${count} lanes`, smallest)),
      row(measured, shared.replace(" lanes", ""), shared, smallest),
    ],
  };
}

function bytes(plan: Plan, measured: Measured): Table {
  const smallest = `${plan.bytes[0]?.bytes} bytes`;
  return {
    title: "Bytes of a task, and of what its result holds",
    columns: [{ title: "bytes" }, { title: "tasks" }, RATE, SHARE, { title: "MB/s", digits: 1 }],
    rows: plan.bytes.map((each) => [
      ...row(measured, each.bytes.toLocaleString("en"), `${each.bytes} bytes`, smallest).toSpliced(
        1,
        0,
        each.tasks.toLocaleString("en"),
      ),
      measured.of(`${each.bytes} bytes`).map((rate) => (rate * each.bytes) / 1e6),
    ]),
  };
}

function row(measured: Measured, title: string, name: string, smallest: string): readonly (string | Samples)[] {
  const rate = measured.of(name);
  return [title, rate, name === smallest ? "1" : ratios(rate, measured.of(smallest))];
}
