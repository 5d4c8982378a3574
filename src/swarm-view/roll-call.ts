/** Who is there: listens to the heartbeats of all nodes for a moment. */
import type { Bus } from "../bus/bus.ts";
import { decode } from "../bus/codec/codec.ts";
import { type Heartbeat, heartbeat } from "../protocols/host-messages.ts";
import type { Names } from "../protocols/subjects.ts";

/** A little more than the second between two heartbeats. */
const LISTEN_MS = 1_200;
/** A node that a roster names gets as long as a dispatcher would give it. */
const LISTEN_FOR_EXPECTED_MS = 3_000;

/**
 * The newest heartbeat of each node, by host id. Listens for 1.2 s, and for up to 3 s while one of `expected` was not heard.
 *
 * @throws VgasError PERMISSION_DENIED, TIMEOUT
 */
export async function rollCall(
  bus: Bus,
  names: Names,
  expected: ReadonlySet<string>,
): Promise<ReadonlyMap<string, Heartbeat>> {
  const heard = new Map<string, Heartbeat>();
  const missing = new Set(expected);
  let longEnough = false;
  let end: () => void = () => undefined;
  const over = new Promise<void>((resolve) => {
    end = resolve;
  });
  const subscription = await bus.subscribe(names.heartbeat("*"), ({ data }) => {
    const beat = parseHeartbeat(data);
    if (beat === undefined) return;
    heard.set(beat.host, beat);
    missing.delete(beat.host);
    if (longEnough && missing.size === 0) end();
  });
  const atFirst = setTimeout(() => {
    longEnough = true;
    if (missing.size === 0) end();
  }, LISTEN_MS);
  const atLast = setTimeout(() => end(), LISTEN_FOR_EXPECTED_MS);
  await over;
  clearTimeout(atFirst);
  clearTimeout(atLast);
  subscription.unsubscribe();
  return heard;
}

/** Undefined for bytes that are none: anybody who may publish there could send them. */
function parseHeartbeat(data: Uint8Array): Heartbeat | undefined {
  try {
    return heartbeat.parse(decode(data));
  } catch {
    return undefined;
  }
}
