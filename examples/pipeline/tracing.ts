/**
 * Starts an OpenTelemetry SDK in whatever process imports this, if TRACES names a file: each span is written there as one line,
 * where a real set-up sends it to a collector. vgas finds the SDK by `@opentelemetry/api`, and makes its spans.
 */
import { appendFileSync } from "node:fs";
import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { BasicTracerProvider, type ReadableSpan, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";

const NANOS_PER_MS = 1e6;
const MS_PER_S = 1e3;

function lineOf(span: ReadableSpan): string {
  const [s, ns] = span.duration;
  const ms = (s * MS_PER_S + ns / NANOS_PER_MS).toFixed(1).padStart(8);
  const { traceId, spanId } = span.spanContext();
  const parent = span.parentSpanContext?.spanId ?? "";
  const { "vgas.attempt": attempt, "error.type": error } = span.attributes;
  const more = `${attempt === undefined ? "" : `  attempt ${attempt}`}${error === undefined ? "" : `  ${error}`}`;
  return `${traceId.slice(0, 8)}  ${parent.slice(0, 4).padEnd(4)} > ${spanId.slice(0, 4)} ${ms} ms  ${span.name}${more}\n`;
}

const file = process.env["TRACES"];
if (file !== undefined && file !== "") {
  const exporter = {
    export: (spans: ReadableSpan[], done: (result: { code: number }) => void): void => {
      appendFileSync(file, spans.map(lineOf).join(""));
      done({ code: 0 });
    },
    shutdown: async () => undefined,
  };
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
}
