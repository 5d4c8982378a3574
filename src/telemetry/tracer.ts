/**
 * Spans for whoever has an OpenTelemetry SDK in the process. Without one there is no tracer, and nothing is made, looked up or
 * written for any task.
 */
import {
  type Context,
  context,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  type Span,
  type Tracer,
  trace,
} from "@opentelemetry/api";

const NAME = "vgas";

/** Undefined without an SDK, which can come at any time. */
export function tracer(): Tracer | undefined {
  const provider = trace.getTracerProvider();
  return provider instanceof ProxyTracerProvider ? provider.getDelegateTracer(NAME) : provider.getTracer(NAME);
}

/** The context that a span of this trace context is a child in; without one, what is active now. */
export function parentOf(traceparent: string | undefined): Context {
  if (traceparent === undefined) return context.active();
  const [, traceId = "", spanId = "", flags = "00"] = traceparent.split("-");
  const remote = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
  return trace.setSpanContext(ROOT_CONTEXT, remote);
}

/** W3C trace context of `span`. */
export function traceparentOfSpan(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`;
}
