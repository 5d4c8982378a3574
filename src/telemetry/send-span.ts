import { type Attributes, SpanKind, SpanStatusCode, type Tracer } from "@opentelemetry/api";
import { VgasError } from "../protocols/errors.ts";
import { HEADERS, type LaneName } from "../protocols/subjects.ts";
import { parentOf, traceparentOfSpan, tracer } from "./tracer.ts";

/** What is sent, for the span that tells of it. */
export interface Sent {
  readonly lane: LaneName;
  readonly subject: string;
  readonly messageId: string;
  readonly tasks: number;
}

type Headers = Readonly<Record<string, string>>;

/** Whether there is an SDK; without one `sendInSpan` only sends. */
export function isTraced(): boolean {
  return tracer() !== undefined;
}

/**
 * Sends a message of tasks within a span `send <kind>`, whose trace context goes into its headers. The span is a child of the one
 * that `headers` name, else of the active one. Without an SDK it only sends.
 */
export function sendInSpan<T>(
  sent: Sent,
  headers: Headers | undefined,
  send: (headers: Headers | undefined) => Promise<T>,
): Promise<T> {
  const made = tracer();
  return made === undefined ? send(headers) : sendTraced(made, sent, headers, send);
}

async function sendTraced<T>(
  made: Tracer,
  { lane, subject, messageId, tasks }: Sent,
  headers: Headers | undefined,
  send: (headers: Headers | undefined) => Promise<T>,
): Promise<T> {
  const attributes: Attributes = {
    "messaging.system": "nats",
    "messaging.operation.type": "send",
    "messaging.operation.name": "send",
    "messaging.destination.name": subject,
    "messaging.message.id": messageId,
    ...(tasks > 1 && { "messaging.batch.message_count": tasks }),
    "vgas.pool": lane.pool,
    "vgas.kind": lane.kind,
  };
  const parent = parentOf(headers?.[HEADERS.traceparent]);
  const span = made.startSpan(`send ${lane.kind}`, { kind: SpanKind.PRODUCER, attributes }, parent);
  try {
    return await send({ ...headers, [HEADERS.traceparent]: traceparentOfSpan(span) });
  } catch (error) {
    const code = error instanceof VgasError ? error.code : "INTERNAL";
    span.setAttribute("error.type", code);
    span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : String(error) });
    throw error;
  } finally {
    span.end();
  }
}
