/**
 * How a node answers `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`, as NATS micro services do (ADR-32), so that `nats micro ls`
 * shows the swarm. All answers are JSON.
 */

/** The name under which every node of a swarm appears. */
const SERVICE_NAME = "vgas";

export interface ServiceIdentity {
  /** Host id. */
  readonly id: string;
  /** Semantic version of vgas. */
  readonly version: string;
  readonly roles: readonly string[];
  /** ISO 8601. */
  readonly started: string;
  /** Where the node's own numbers are asked for. */
  readonly statsSubject: string;
}

/** Tasks of a node since its start. */
export interface ServiceTotals {
  readonly started: number;
  readonly failed: number;
}

export const SERVICE_VERBS = ["PING", "INFO", "STATS"] as const;
export type ServiceVerb = (typeof SERVICE_VERBS)[number];

/** Subjects of one verb that mean this node: everybody, every vgas node, this one. */
export function serviceSubjects(verb: ServiceVerb, id: string): readonly string[] {
  return [`$SRV.${verb}`, `$SRV.${verb}.${SERVICE_NAME}`, `$SRV.${verb}.${SERVICE_NAME}.${id}`];
}

export function serviceAnswer(verb: ServiceVerb, service: ServiceIdentity, totals: ServiceTotals): object {
  const { id, version, roles, started, statsSubject } = service;
  const identity = { name: SERVICE_NAME, id, version, metadata: { roles: roles.join(",") } };
  const endpoint = { name: "stats", subject: statsSubject, queue_group: "" };
  if (verb === "PING") return { type: "io.nats.micro.v1.ping_response", ...identity };
  if (verb === "INFO") {
    return {
      type: "io.nats.micro.v1.info_response",
      ...identity,
      description: "A node of a vgas swarm",
      endpoints: [{ ...endpoint, metadata: {} }],
    };
  }
  return {
    type: "io.nats.micro.v1.stats_response",
    ...identity,
    started,
    endpoints: [
      {
        ...endpoint,
        num_requests: totals.started,
        num_errors: totals.failed,
        last_error: "",
        processing_time: 0,
        average_processing_time: 0,
      },
    ],
  };
}
