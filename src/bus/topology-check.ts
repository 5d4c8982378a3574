/** Looks whether the streams and buckets are as the promises need them, and changes nothing. */
import { VgasError } from "../protocols/errors.ts";
import type { TopologyOptions } from "../protocols/streams.ts";
import type { Names } from "../protocols/subjects.ts";
import type { Bus } from "./bus.ts";
import { jsApiFind } from "./js-api.ts";
import { type ReplicaState, replicaState } from "./replicas.ts";
import { serverFacts } from "./server-facts.ts";
import { compareConfig, type Difference, type WantedConfig, wantedStreams } from "./stream-config.ts";

export interface StreamCheck {
  readonly name: string;
  /**
   * `differs`: in a way that breaks a promise; `adjustable`: a node that may change streams would do it when it starts;
   * `unseen`: this credential may not look.
   */
  readonly state: "ok" | "missing" | "differs" | "adjustable" | "unseen";
  readonly differences: readonly Difference[];
  /** What the JetStream API takes to make it. */
  readonly wanted: WantedConfig;
  /** Of a stream with more than one copy. */
  readonly replicas?: ReplicaState;
}

/** Lifetimes, the cap of waiting tasks and batches are what the last node that started asked for, and nobody else knows it. */
const OF_THE_NODE: readonly string[] = [
  "max_age",
  "duplicate_window",
  "max_msgs_per_subject",
  "discard_new_per_subject",
  "allow_atomic",
];

/**
 * Each stream, and the stream behind each bucket. `visible` says whose state the credential may ask for.
 *
 * @throws VgasError TIMEOUT, NO_SWARM, CONFIG if there is no JetStream
 */
export async function checkTopology(
  bus: Bus,
  names: Names,
  options: TopologyOptions,
  visible: (stream: string) => boolean,
): Promise<readonly StreamCheck[]> {
  const checks: StreamCheck[] = [];
  for (const config of wantedStreams(names, options, serverFacts(bus)))
    checks.push(await checkStream(bus, config, visible(config.name)));
  return checks;
}

async function checkStream(bus: Bus, wanted: WantedConfig, visible: boolean): Promise<StreamCheck> {
  const { name } = wanted;
  const unseen: StreamCheck = { name, state: "unseen", differences: [], wanted };
  if (!visible) return unseen;
  const found = await jsApiFind(bus, `reading the settings of ${name}`, (manager) => manager.streams.info(name)).catch(
    (error: unknown) => {
      if (error instanceof VgasError && error.code === "PERMISSION_DENIED") return "denied" as const;
      throw error;
    },
  );
  if (found === "denied") return unseen;
  if (found === undefined) return { ...unseen, state: "missing" };
  const { drift, update } = compareConfig(wanted, found.config);
  const replicas = replicaState(found);
  const seen = { ...unseen, ...(replicas && { replicas }) };
  if (drift.length > 0) return { ...seen, state: "differs", differences: drift };
  const differences = (Object.keys(update) as (keyof typeof update & keyof WantedConfig)[])
    .filter((field) => !OF_THE_NODE.includes(field))
    .map((field) => ({ field, wanted: wanted[field], found: found.config[field] }));
  return { ...seen, state: differences.length === 0 ? "ok" : "adjustable", differences };
}
