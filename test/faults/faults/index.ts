/** All faults that the harness has. */
import type { Fault } from "../fault.ts";
import { DISPATCHER_FAULTS } from "./dispatchers.ts";
import { HOST_FAULTS } from "./hosts.ts";

export const FAULTS: readonly Fault[] = [...HOST_FAULTS, ...DISPATCHER_FAULTS];
