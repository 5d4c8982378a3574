/**
 * How a node answers `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`, as NATS micro services do (ADR-32), so that `nats micro ls`
 * shows the swarm. All answers are JSON.
 */

import { z } from "zod";
import { type NodeReport, nodeReport } from "./trouble.ts";

/** The name under which every node of a swarm appears. */
const SERVICE_NAME = "vgas";

/** Asks every vgas node of the NATS system for its statistics: those of other swarms too, whose endpoints begin otherwise. */
export const ALL_STATS = `$SRV.STATS.${SERVICE_NAME}`;

/** As far as a node's statistics are read; of one without a report the version is another. */
export const serviceStats = z.object({
  id: z.string(),
  metadata: z.object({ roles: z.string() }),
  endpoints: z.array(z.object({ subject: z.string(), data: nodeReport.optional().catch(undefined) })).min(1),
});

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

/** Tasks of a node since its start, and what it says of itself. */
export interface ServiceTotals {
  readonly started: number;
  readonly failed: number;
  readonly report: NodeReport;
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
        data: totals.report,
      },
    ],
  };
}
