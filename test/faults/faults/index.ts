/** All faults that the harness has. */
import type { Fault } from "../fault.ts";
import { BROKER_FAULTS } from "./brokers.ts";
import { CLUSTER_FAULTS } from "./clusters.ts";
import { DISPATCHER_FAULTS } from "./dispatchers.ts";
import { FAILPOINT_FAULTS } from "./failpoints.ts";
import { HOST_FAULTS } from "./hosts.ts";
import { MASTER_FAULTS } from "./masters.ts";

export const FAULTS: readonly Fault[] = [
  ...HOST_FAULTS,
  ...DISPATCHER_FAULTS,
  ...FAILPOINT_FAULTS,
  ...BROKER_FAULTS,
  ...MASTER_FAULTS,
  ...CLUSTER_FAULTS,
];
