/** Why a swarm is degraded, and what to do about it. Pure. */
import { replicaTrouble } from "../bus/replicas.ts";
import type { StreamState } from "../bus/topology.ts";
import { PRIORITIES } from "../protocols/subjects.ts";
import type { Trouble } from "../protocols/trouble.ts";
import type { LaneState } from "./health.ts";
import type { NodeSays } from "./node-reports.ts";
import type { NodeView } from "./nodes.ts";
import type { Observations } from "./observations.ts";

/** A loop that does not answer for this long holds up every task of its node. */
const MAX_LAG_MS = 1_000;
/** Above this share of its size cap a stream is about to refuse what is sent. */
const ALMOST_FULL = 0.9;
/** Clocks that differ by more than this make rates, delays and expiry differ by as much. */
const MAX_SKEW_MS = 2_000;

const BLOCKS = 'mend its agent, or give it `isolation: "process"`: what runs beside it waits';
const START_DISPATCHER = "start a node with role dispatcher: `vgas up`, or `vgas join --roles dispatcher,agents`";

/** `offered` are the lanes that somebody offers. */
export function swarmTroubles(seen: Observations, offered: readonly LaneState[]): readonly Trouble[] {
  return [
    ...seen.said.flatMap(({ host, troubles }) =>
      troubles.map(({ what, remedy }) => ({ what: `node ${host}: ${what}`, remedy })),
    ),
    ...ofUnanswered(seen),
    ...ofNodes(seen.nodes),
    ...ofDispatchers(seen.said),
    ...ofClocks(seen.said),
    ...seen.streams.flatMap(ofStream),
    ...ofLanes(offered, seen),
    ...ofVault(seen),
  ];
}

/** One for all, where no stream can be asked for. */
function ofUnanswered({ unanswered, streams, names }: Observations): readonly Trouble[] {
  const remedy = "look at the nats-server's log, and run `vgas doctor`";
  if (streams.length > 0 || unanswered.length < Object.keys(names.streams).length)
    return unanswered.map((what) => ({ what, remedy }));
  return [{ what: "JetStream does not answer: nothing is stored, and what is stored cannot be read", remedy }];
}

function ofNodes(nodes: readonly NodeView[]): readonly Trouble[] {
  if (!nodes.some(({ state }) => state !== "silent")) {
    const remedy = "start one (`vgas join`, `vgas up`); the log of one that runs says why it is not heard";
    return [{ what: "no node with agents is heard, so no task runs", remedy }];
  }
  return nodes.flatMap(({ host, state, lagMs = 0 }) => {
    if (state === "silent") {
      const remedy = "start it again; otherwise a dispatcher takes it out of the rotation within seconds";
      return [{ what: `node ${host} is not heard, though it has not left`, remedy }];
    }
    if (state === "stalled")
      return [{ what: `node ${host} is stalled: a task blocks it past the task's deadline`, remedy: BLOCKS }];
    const lag = Math.round(lagMs);
    if (lag <= MAX_LAG_MS) return [];
    return [{ what: `node ${host} has not answered for ${lag} ms: a task blocks its main loop`, remedy: BLOCKS }];
  });
}

/** Where no node says anything of itself, all are of another version, or there is none. */
function ofDispatchers(said: readonly NodeSays[]): readonly Trouble[] {
  if (said.length === 0 || said.some(({ roles }) => roles.includes("dispatcher"))) return [];
  return [{ what: "no node with role dispatcher answers, so no task is dealt", remedy: START_DISPATCHER }];
}

function ofClocks(said: readonly NodeSays[]): readonly Trouble[] {
  const byClock = [...said].sort((a, b) => a.clockMs - b.clockMs);
  const [behind, ahead] = [byClock[0], byClock.at(-1)];
  if (behind === undefined || ahead === undefined) return [];
  const skewMs = ahead.clockMs - behind.clockMs;
  if (skewMs <= MAX_SKEW_MS) return [];
  const seconds = (skewMs / 1_000).toFixed(1);
  const what = `the clock of node ${ahead.host} is ${seconds} s ahead of that of node ${behind.host}`;
  return [{ what, remedy: "set the machines' clocks (NTP): rates, delays and expiry are as exact as they agree" }];
}

function ofStream({ name, bytes, maxBytes, copies }: StreamState): readonly Trouble[] {
  const troubles: Trouble[] = [];
  if (maxBytes > 0 && bytes > ALMOST_FULL * maxBytes) {
    const remedy = name.endsWith("_RESULTS")
      ? "shorten --results-ttl, or raise the stream's size cap: from 95 % on dispatchers pull nothing"
      : "raise the stream's size cap, or take something out of it";
    troubles.push({ what: `stream ${name} is ${Math.round((100 * bytes) / maxBytes)} % full`, remedy });
  }
  // One that has just come back, or is a few messages behind, is no reason to wake anybody.
  const lacks = copies !== undefined && (copies.leader === undefined || copies.offline.length > 0);
  const trouble = lacks ? replicaTrouble(copies) : undefined;
  if (trouble !== undefined) {
    const remedy = "start the servers of the cluster that are missing: `nats server report jetstream` shows them";
    troubles.push({ what: `stream ${name}: ${trouble}`, remedy });
  }
  return troubles;
}

function ofLanes(lanes: readonly LaneState[], { names, consumers }: Observations): readonly Trouble[] {
  if (consumers === undefined) return [];
  const pulled = new Map(consumers.map(({ name, pulls }) => [name, pulls > 0]));
  return lanes
    .filter(({ paused }) => paused === undefined)
    .flatMap((lane) => {
      const own = PRIORITIES.map((priority) => pulled.get(names.consumer(lane, priority)));
      if (own.includes(undefined)) {
        const remedy = "a dispatcher makes it again within seconds; if it does not, its log says why";
        return [{ what: `a consumer of ${lane.pool}.${lane.kind} is missing`, remedy }];
      }
      if (lane.waiting === 0 || lane.inHand > 0 || own.includes(true)) return [];
      return [{ what: `no dispatcher takes the tasks of ${lane.pool}.${lane.kind}`, remedy: START_DISPATCHER }];
    });
}

/** A vault that is sealed or not made is no trouble: that is how it is before somebody opens it. */
function ofVault({ vault, said }: Observations): readonly Trouble[] {
  if (vault === undefined) {
    const host = said.find(({ roles }) => roles.includes("vault"))?.host;
    const remedy = "it takes its name again as soon as it can write it; the node's log says why it cannot";
    return host === undefined ? [] : [{ what: `the vault of node ${host} has no name: nobody reaches it`, remedy }];
  }
  const remedy = "look at the log and the disk of the node that runs it";
  if (vault.state === "silent") {
    return [{ what: `the vault does not answer: ${vault.why ?? "for no reason it knows"}`, remedy }];
  }
  if (vault.state !== "failed" && vault.why === undefined) return [];
  return [{ what: `the vault gives no key out: ${vault.why ?? "it has failed"}`, remedy }];
}
