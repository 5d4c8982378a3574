/** The spans of a task, as an SDK in the process gets them. */
import { context, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { afterEach, expect, onTestFinished, test } from "vitest";
import { connect } from "../../src/client.ts";
import { HEADERS } from "../../src/protocols/subjects.ts";
import { tracer } from "../../src/telemetry/tracer.ts";
import { Dealing } from "../support/dealing.ts";
import { useNats } from "../support/nats.ts";
import { eventually, rejection } from "../support/wait.ts";

const nats = useNats();
const exporter = new InMemorySpanExporter();

afterEach(() => {
  trace.disable();
  context.disable();
  exporter.reset();
});

function withSdk(): void {
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
}

async function swarm() {
  const dealing = await Dealing.start(nats);
  await dealing.host("h", {
    kind: "work",
    slots: 4,
    run: async ({ input }, ctx) => {
      await Promise.resolve();
      trace.getTracer("user").startSpan("of the user").end();
      if (input === "fail") throw new Error("as ordered");
      return ctx.traceparent ?? null;
    },
  });
  await dealing.dispatcher();
  const client = await connect({ url: nats.url, prefix: dealing.names.prefix });
  onTestFinished(() => client.close());
  return { dealing, client };
}

const finished = (name: string) => exporter.getFinishedSpans().filter((span) => span.name === name);

test("one trace goes from who submits to the behaviour's own spans and to the result", async () => {
  const { dealing, client } = await swarm();
  withSdk();
  const outer = trace.getTracer("user").startSpan("outer");
  const task = await context.with(trace.setSpan(context.active(), outer), () => client.submit("work", "in"));
  const result = await task.result();
  const [[send], [process], [own]] = [finished("send work"), finished("process work"), finished("of the user")];
  const { traceId, spanId } = outer.spanContext();
  expect([send, process, own].map((span) => span?.spanContext().traceId)).toEqual([traceId, traceId, traceId]);
  expect(send?.parentSpanContext?.spanId).toBe(spanId);
  expect(process?.parentSpanContext?.spanId).toBe(send?.spanContext().spanId);
  expect(own?.parentSpanContext?.spanId).toBe(process?.spanContext().spanId);
  expect([send?.kind, process?.kind]).toEqual([SpanKind.PRODUCER, SpanKind.CONSUMER]);
  const subject = dealing.names.task("default", "work");
  const common = { "messaging.system": "nats", "messaging.destination.name": subject, "vgas.pool": "default" };
  expect(send?.attributes).toMatchObject(common);
  const attempt = { "messaging.message.id": task.id, "vgas.attempt": 1, "vgas.agent": "h-0" };
  expect(process?.attributes).toMatchObject({ ...common, ...attempt });
  const traceparent = `00-${traceId}-${process?.spanContext().spanId}-01`;
  expect(result.output).toBe(traceparent);
  expect((await dealing.stored(task.id))?.header(HEADERS.traceparent)).toBe(traceparent);
});

test("each attempt has a span, and says why it failed; a submission that is refused too", async () => {
  const { client } = await swarm();
  withSdk();
  const [failed, other] = await client.submitMany("work", ["fail", "ok"], { task: () => ({ maxAttempts: 2 }) });
  expect([(await failed?.result())?.status, (await other?.result())?.status]).toEqual(["failed", "ok"]);
  const attempts = finished("process work").filter((span) => span.attributes["messaging.message.id"] === failed?.id);
  expect(
    attempts.map(({ attributes, status }) => [attributes["vgas.attempt"], attributes["error.type"], status.code]),
  ).toEqual([
    [1, "AGENT_ERROR", SpanStatusCode.ERROR],
    [2, "AGENT_ERROR", SpanStatusCode.ERROR],
  ]);
  const [send] = finished("send work");
  expect(send?.attributes["messaging.batch.message_count"]).toBe(2);
  expect(attempts.map((span) => span.parentSpanContext?.spanId)).toEqual(new Array(2).fill(send?.spanContext().spanId));
  const nobody = await connect({ url: nats.url, prefix: "nobody" });
  onTestFinished(() => nobody.close());
  expect(await rejection(nobody.submit("work"))).toMatchObject({ code: "NO_SWARM" });
  expect(finished("send work").at(-1)).toMatchObject({ status: { code: SpanStatusCode.ERROR } });
});

test("a trace context that the caller names is the parent, and without an SDK it goes on as it is", async () => {
  const { dealing, client } = await swarm();
  const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
  expect(tracer()).toBeUndefined();
  const plain = await client.submit("work", "in", { traceparent });
  expect((await plain.result()).output).toBe(traceparent);
  const none = await client.submit("work", "in");
  expect((await none.result()).output).toBe(null);
  const stored = await eventually(() => dealing.stored(none.id), "the result");
  expect(stored.header(HEADERS.traceparent)).toBeUndefined();
  withSdk();
  await (await client.submit("work", "in", { traceparent })).result();
  const [send] = finished("send work");
  expect([send?.spanContext().traceId, send?.parentSpanContext?.spanId]).toEqual(["a".repeat(32), "b".repeat(16)]);
});
