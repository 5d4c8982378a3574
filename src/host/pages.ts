/** What a node shows of itself and of its swarm by HTTP: its metrics, and the state of the swarm. */
import type { DispatcherStatus } from "../actors/gatling/dispatcher.ts";
import type { Bus } from "../bus/bus.ts";
import type { ResultStore } from "../bus/results.ts";
import { keptFor } from "../http/moment.ts";
import type { Pages } from "../http/requests.ts";
import type { LaneMeters } from "../metrics/lane-meters.ts";
import { type NodeNumbers, nodeMetrics } from "../metrics/node-metrics.ts";
import type { Clock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import type { AgentGroup, HostStats } from "../protocols/host-messages.ts";
import type { Names } from "../protocols/subjects.ts";
import { readHealth } from "../swarm-view/health.ts";
import type { Link } from "./link.ts";
import type { Troubles } from "./troubles.ts";

/** A scrape each few seconds is usual; several who scrape at once get the same. */
const METRICS_MS = 500;
/** Reading the state of the swarm listens to its nodes for a second and more. */
const STATUS_MS = 2_000;

export interface PagesOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly link: Pick<Link, "hostId" | "role" | "connection" | "server">;
  readonly roles: readonly string[];
  readonly version: string;
  readonly meters: LaneMeters;
  readonly results: ResultStore;
  readonly troubles: Troubles;
  readonly groups: readonly AgentGroup[];
  readonly clock: Clock;
  readonly status: () => {
    readonly dispatcher: DispatcherStatus | undefined;
    readonly agents: HostStats | undefined;
  };
}

/** What this node knows by itself: told where the swarm cannot be read. */
interface OwnState {
  readonly health: "unknown";
  readonly reasons: readonly string[];
  readonly url: string;
  readonly prefix: string;
  readonly node: { readonly host: string; readonly roles: readonly string[]; readonly bus: string } & NonNullable<
    Partial<Pick<NodeNumbers, "agents">>
  > & { readonly dispatcher?: DispatcherStatus };
}

export function nodePages(options: PagesOptions): Pages {
  const { bus, meters, version, results, clock } = options;
  let reconnects = 0;
  bus.onStatus(({ type }) => {
    if (type === "reconnected") reconnects++;
  });
  const numbers = (): NodeNumbers => ({
    dispatcher: options.status().dispatcher,
    agents: ownAgents(options),
    resultsRefused: results.refused,
    reconnects,
    connected: bus.state === "connected",
    troubles: options.troubles.list().length,
    broker: options.link.server,
  });
  const metrics = nodeMetrics({ version, meters, numbers });
  const monotonic = (): number => clock.monotonic();
  return {
    metrics: keptFor(
      METRICS_MS,
      async () => ({ contentType: metrics.contentType, text: await metrics.text() }),
      monotonic,
    ),
    status: keptFor(STATUS_MS, () => readStatus(options), monotonic),
  };
}

async function readStatus(options: PagesOptions): Promise<object> {
  const { bus, names, link } = options;
  if (bus.state !== "connected") return ownState(options, "this node is not connected to NATS now");
  // A worker's credential opens what its own tasks need, and not the state of others; trying would only fill the log.
  if (link.role === "worker")
    return ownState(options, "the credential of this node, a worker's, does not open the state of the swarm");
  try {
    return await readHealth({ bus, names, url: link.connection.url });
  } catch (error) {
    if (!(error instanceof VgasError)) throw error;
    return ownState(options, `the state of the swarm could not be read: ${error.message}`);
  }
}

function ownState(options: PagesOptions, why: string): OwnState {
  const { bus, names, link, roles, status, troubles } = options;
  const { dispatcher } = status();
  const agents = ownAgents(options);
  return {
    health: "unknown",
    reasons: [why, ...troubles.list().map(({ what }) => what)],
    url: link.connection.url,
    prefix: names.prefix,
    node: {
      ...{ host: link.hostId, roles, bus: bus.state },
      ...(agents && { agents }),
      ...(dispatcher && { dispatcher }),
    },
  };
}

function ownAgents({ groups, status }: PagesOptions): NodeNumbers["agents"] {
  const { agents } = status();
  if (agents === undefined) return undefined;
  return {
    agents: groups.reduce((sum, { count }) => sum + count, 0),
    slots: groups.reduce((sum, { count, slots }) => sum + count * slots, 0),
    running: agents.running.reduce((sum, each) => sum + each, 0),
    abandoned: agents.abandoned,
  };
}
