/** Answers to deliveries. The payloads are constant, so that an answer costs one publish and nothing else. */
import { failpoint, failpointOnceSent } from "../failpoints/failpoints.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Bus } from "./bus.ts";

const encoder = new TextEncoder();
const ACK = encoder.encode("+ACK");
const NAK = encoder.encode("-NAK");
const WORKING = encoder.encode("+WPI");
const NANOS_PER_MS = 1_000_000;

/**
 * The message is done with and leaves the queue.
 *
 * @param ack `PulledMessage.ack`, on whatever host it ended up
 * @returns false if there is no connection, so that it was certainly not told: the message will come again
 */
export function ackTask(bus: Bus, ack: string): boolean {
  failpoint("ack.before");
  const told = tell(bus, ack, ACK);
  if (told) failpointOnceSent("ack.after");
  return told;
}

/** The message comes again, at once or after `delayMs`. Returns as `ackTask`. */
export function nakTask(bus: Bus, ack: string, delayMs = 0): boolean {
  return tell(bus, ack, delayMs > 0 ? encoder.encode(`-NAK {"delay":${Math.ceil(delayMs) * NANOS_PER_MS}}`) : NAK);
}

/** The message is being worked on: its ack wait begins anew. Returns as `ackTask`. */
export function workingOnTask(bus: Bus, ack: string): boolean {
  return tell(bus, ack, WORKING);
}

function tell(bus: Bus, ack: string, payload: Uint8Array): boolean {
  if (bus.state !== "connected") return false;
  try {
    bus.publish(ack, payload);
    return true;
  } catch (error) {
    // Closed between the question and the call.
    if (error instanceof VgasError && error.code === "SHUTTING_DOWN") return false;
    throw error;
  }
}
