/** All faults that the harness has. */
import type { Fault } from "../fault.ts";
import { BROKER_FAULTS } from "./brokers.ts";
import { CLOCK_FAULTS } from "./clock.ts";
import { CLUSTER_FAULTS } from "./clusters.ts";
import { DISK_FULL } from "./disk.ts";
import { DISPATCHER_FAULTS } from "./dispatchers.ts";
import { FAILPOINT_FAULTS } from "./failpoints.ts";
import { FULL_RESULTS } from "./full-results.ts";
import { HOST_FAULTS } from "./hosts.ts";
import { LINK_FAULTS } from "./link.ts";
import { MASTER_FAULTS } from "./masters.ts";
import { PROXY_FAULTS } from "./proxy.ts";

export const FAULTS: readonly Fault[] = [
  ...HOST_FAULTS,
  ...DISPATCHER_FAULTS,
  ...FAILPOINT_FAULTS,
  ...BROKER_FAULTS,
  ...MASTER_FAULTS,
  ...CLUSTER_FAULTS,
  ...PROXY_FAULTS,
  ...LINK_FAULTS,
  ...CLOCK_FAULTS,
  FULL_RESULTS,
  DISK_FULL,
];
