/** The W3C trace context that goes with a task from its submission to its result. */

/** Version ff and ids of zeros are none, by the specification. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** True for `<version>-<trace id>-<span id>-<flags>` in lower case hex. What is none is ignored by the swarm, as the W3C wants it. */
export function isTraceparent(value: unknown): value is string {
  return typeof value === "string" && TRACEPARENT.test(value);
}

/** The value of a message's header `traceparent`, if it is one. */
export function traceparentOf(header: string | undefined): string | undefined {
  return isTraceparent(header) ? header : undefined;
}
