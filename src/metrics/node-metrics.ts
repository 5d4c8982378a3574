/**
 * The metrics of one node in the text format of Prometheus. Nothing is counted here: everything is read from where it is counted
 * when somebody asks, so that metrics that nobody reads cost nothing.
 *
 * Labels are bounded: lanes by `LaneMeters`, everything else by what this program knows.
 */
import { Counter, collectDefaultMetrics, Gauge, type Metric, Registry } from "prom-client";
import type { LaneName } from "../protocols/subjects.ts";
import { type Buckets, SECONDS_BUCKETS } from "./buckets.ts";
import type { LaneMeter, LaneMeters } from "./lane-meters.ts";

/** What a node's parts say of themselves; undefined for parts that it has not. */
export interface NodeNumbers {
  readonly dispatcher:
    | {
        readonly inHand: number;
        readonly assigned: number;
        readonly openBursts: number;
        readonly heartbeats: number;
        readonly hosts: Readonly<Record<string, number>>;
        readonly lanes: readonly (LaneName & {
          readonly swaps: number;
          readonly conflicts: number;
          readonly inHand: number;
        })[];
      }
    | undefined;
  readonly agents:
    | { readonly agents: number; readonly slots: number; readonly running: number; readonly abandoned: number }
    | undefined;
  /** Results that the server does not take for now. */
  readonly resultsRefused: number;
  /** Connections to NATS after the first. */
  readonly reconnects: number;
  readonly connected: boolean;
  /** What keeps it from its work, or is about to. */
  readonly troubles: number;
  /** Its own nats-server. */
  readonly broker: { readonly restarts: number; readonly freeBytes: number | undefined } | undefined;
}

export interface NodeMetricsOptions {
  readonly version: string;
  readonly meters: LaneMeters;
  readonly numbers: () => NodeNumbers;
}

export interface NodeMetrics {
  readonly contentType: string;
  text(): Promise<string>;
}

type Labels = Readonly<Record<string, string>>;
/** Tells one value of a metric; those of the same labels add up. */
type Tell = (value: number, labels?: Labels) => void;

interface Described {
  readonly type: "counter" | "gauge";
  readonly help: string;
  readonly labels?: readonly string[];
  readonly read: (tell: Tell, options: NodeMetricsOptions) => void;
}

const LANE = ["pool", "kind"] as const;

/** Every metric that is a number. docs/operations.md lists them. */
const NUMBERS: Readonly<Record<string, Described>> = {
  vgas_tasks_total: {
    type: "counter",
    help: "Results that this node stored, by how the task ended",
    labels: [...LANE, "status"],
    read: ofLanes(({ results }, tell, lane) => {
      for (const [status, count] of Object.entries(results)) tell(count, { ...lane, status });
    }),
  },
  vgas_retries_total: {
    type: "counter",
    help: "Attempts that failed and were followed by another",
    labels: LANE,
    read: ofLanes(({ retries }, tell, lane) => tell(retries, lane)),
  },
  vgas_dead_letters_total: {
    type: "counter",
    help: "Dead letters that this node stored",
    labels: LANE,
    read: ofLanes(({ deadLetters }, tell, lane) => tell(deadLetters, lane)),
  },
  vgas_tickets_total: {
    type: "counter",
    help: "Tickets that this dispatcher drew",
    labels: LANE,
    read: ofLanes(({ tickets }, tell, lane) => tell(tickets, lane)),
  },
  vgas_turns_skipped_total: {
    type: "counter",
    help: "Tickets among them that carried no task, because the agent's slots were full",
    labels: LANE,
    read: ofLanes(({ skipped }, tell, lane) => tell(skipped, lane)),
  },
  vgas_redeliveries_total: {
    type: "counter",
    help: "Messages that had been delivered before, to whomever",
    labels: LANE,
    read: ofLanes(({ redeliveries }, tell, lane) => tell(redeliveries, lane)),
  },
  vgas_cas_tries_total: {
    type: "counter",
    help: "Compare-and-swaps of a rotation that this dispatcher tried",
    labels: LANE,
    read: ofRotations(({ swaps }, tell, lane) => tell(swaps, lane)),
  },
  vgas_cas_conflicts_total: {
    type: "counter",
    help: "Compare-and-swaps among them that another dispatcher won",
    labels: LANE,
    read: ofRotations(({ conflicts }, tell, lane) => tell(conflicts, lane)),
  },
  vgas_in_hand: {
    type: "gauge",
    help: "Tasks that this dispatcher has pulled and not handed over",
    labels: LANE,
    read: ofRotations(({ inHand }, tell, lane) => tell(inHand, lane)),
  },
  vgas_assigned: {
    type: "gauge",
    help: "Tasks that this dispatcher has handed to hosts and not heard the end of",
    read: ofDispatcher(({ assigned }, tell) => tell(assigned)),
  },
  vgas_open_bursts: {
    type: "gauge",
    help: "Bursts of this dispatcher whose receipt has not come",
    read: ofDispatcher(({ openBursts }, tell) => tell(openBursts)),
  },
  vgas_hosts: {
    type: "gauge",
    help: "Hosts that this dispatcher knows, by state",
    labels: ["state"],
    read: ofDispatcher(({ hosts }, tell) => {
      for (const [state, count] of Object.entries(hosts)) tell(count, { state });
    }),
  },
  vgas_heartbeats_total: {
    type: "counter",
    help: "Heartbeats of hosts that this dispatcher heard",
    read: ofDispatcher(({ heartbeats }, tell) => tell(heartbeats)),
  },
  vgas_agents: { type: "gauge", help: "Agents of this node", read: ofAgents(({ agents }, tell) => tell(agents)) },
  vgas_slots: {
    type: "gauge",
    help: "Tasks that this node's agents can run at once",
    read: ofAgents(({ slots }, tell) => tell(slots)),
  },
  vgas_running: {
    type: "gauge",
    help: "Tasks that run on this node",
    read: ofAgents(({ running }, tell) => tell(running)),
  },
  vgas_abandoned: {
    type: "gauge",
    help: "Attempts that are over while their behaviour goes on and keeps its slot",
    read: ofAgents(({ abandoned }, tell) => tell(abandoned)),
  },
  vgas_results_refused: {
    type: "gauge",
    help: "Results of this node that the results stream does not take for now",
    read: (tell, { numbers }) => tell(numbers().resultsRefused),
  },
  vgas_nats_reconnects_total: {
    type: "counter",
    help: "Connections to NATS after the first",
    read: (tell, { numbers }) => tell(numbers().reconnects),
  },
  vgas_nats_connected: {
    type: "gauge",
    help: "1 while the node is connected to NATS",
    read: (tell, { numbers }) => tell(numbers().connected ? 1 : 0),
  },
  vgas_troubles: {
    type: "gauge",
    help: "What keeps this node from its work, or is about to; vgas status says what",
    read: (tell, { numbers }) => tell(numbers().troubles),
  },
  vgas_broker_restarts_total: {
    type: "counter",
    help: "How often the node's own nats-server was started again",
    read: (tell, { numbers }) => {
      const { broker } = numbers();
      if (broker) tell(broker.restarts);
    },
  },
  vgas_broker_free_bytes: {
    type: "gauge",
    help: "Bytes that the disk of the node's own nats-server has left",
    read: (tell, { numbers }) => {
      const { broker } = numbers();
      if (broker?.freeBytes !== undefined) tell(broker.freeBytes);
    },
  },
  vgas_build_info: {
    type: "gauge",
    help: "Always 1; the labels say what runs",
    labels: ["version", "node"],
    read: (tell, { version }) => tell(1, { version, node: process.version }),
  },
};

/** Every histogram; seconds. */
const HISTOGRAMS: Readonly<Record<string, { readonly help: string; readonly of: (meter: LaneMeter) => Buckets }>> = {
  vgas_queue_seconds: {
    help: "From the submission of a task to the start of its first attempt on this node",
    of: ({ queued }) => queued,
  },
  vgas_run_seconds: { help: "From the start of an attempt on this node to its end", of: ({ ran }) => ran },
};

/** Names and types of the metrics that vgas has itself, for the documents. */
export const METRICS: readonly { readonly name: string; readonly type: string; readonly labels: readonly string[] }[] =
  [
    ...Object.entries(NUMBERS).map(([name, { type, labels = [] }]) => ({ name, type, labels })),
    ...Object.keys(HISTOGRAMS).map((name) => ({ name, type: "histogram", labels: LANE })),
  ];

export function nodeMetrics(options: NodeMetricsOptions): NodeMetrics {
  const registry = new Registry();
  for (const [name, described] of Object.entries(NUMBERS)) registerNumber(registry, name, described, options);
  for (const [name, { help, of }] of Object.entries(HISTOGRAMS)) {
    const get = async (): Promise<object> => ({
      ...{ name, help, type: "histogram", aggregator: "sum" },
      values: options.meters.all().flatMap((meter) => histogramLines(name, laneOf(meter), of(meter))),
    });
    registry.registerMetric({ name, help, get } as unknown as Metric);
  }
  return {
    contentType: registry.contentType,
    text: async () => `${await registry.metrics()}\n${await processRegistry().metrics()}`,
  };
}

let ofProcess: Registry | undefined;

/** What is told of the process: one for all nodes in it, made when it is first asked for, because it starts timers. */
function processRegistry(): Registry {
  if (ofProcess === undefined) {
    ofProcess = new Registry();
    collectDefaultMetrics({ register: ofProcess });
  }
  return ofProcess;
}

function registerNumber(
  registry: Registry,
  name: string,
  { type, help, labels = [], read }: Described,
  options: NodeMetricsOptions,
): void {
  const shared = { name, help, labelNames: [...labels], registers: [registry] };
  if (type === "counter") {
    const counter = new Counter({
      ...shared,
      collect: () => {
        counter.reset();
        read((value, told = {}) => counter.inc(told, value), options);
      },
    });
  } else {
    const gauge = new Gauge({
      ...shared,
      collect: () => {
        gauge.reset();
        read((value, told = {}) => gauge.inc(told, value), options);
      },
    });
  }
}

function histogramLines(name: string, lane: Labels, buckets: Buckets): readonly object[] {
  let below = 0;
  const lines: object[] = SECONDS_BUCKETS.map((le, i) => {
    below += buckets.counts[i] as number;
    return { metricName: `${name}_bucket`, labels: { ...lane, le: String(le) }, value: below };
  });
  const { count, sum } = buckets;
  lines.push({ metricName: `${name}_bucket`, labels: { ...lane, le: "+Inf" }, value: count });
  lines.push({ metricName: `${name}_sum`, labels: lane, value: sum });
  lines.push({ metricName: `${name}_count`, labels: lane, value: count });
  return lines;
}

function laneOf({ pool, kind }: LaneName): Labels {
  return { pool, kind };
}

type Read = Described["read"];
type Dispatched = NonNullable<NodeNumbers["dispatcher"]>;

function ofLanes(read: (meter: LaneMeter, tell: Tell, lane: Labels) => void): Read {
  return (tell, { meters }) => {
    for (const meter of meters.all()) read(meter, tell, laneOf(meter));
  };
}

function ofDispatcher(read: (dispatcher: Dispatched, tell: Tell) => void): Read {
  return (tell, { numbers }) => {
    const { dispatcher } = numbers();
    if (dispatcher) read(dispatcher, tell);
  };
}

/** Lanes beyond those that are told apart add up as `other`. */
function ofRotations(read: (lane: Dispatched["lanes"][number], tell: Tell, labels: Labels) => void): Read {
  return (tell, options) => {
    const { dispatcher } = options.numbers();
    for (const lane of dispatcher?.lanes ?? []) read(lane, tell, laneOf(options.meters.of(lane)));
  };
}

function ofAgents(read: (agents: NonNullable<NodeNumbers["agents"]>, tell: Tell) => void): Read {
  return (tell, { numbers }) => {
    const { agents } = numbers();
    if (agents) read(agents, tell);
  };
}
