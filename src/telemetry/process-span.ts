import { context, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { agentId } from "../protocols/rotation.ts";
import type { LaneName, Names } from "../protocols/subjects.ts";
import type { WireError } from "../protocols/wire-error.ts";
import { parentOf, traceparentOfSpan, tracer } from "./tracer.ts";

/** What the span tells of an attempt. */
export interface Attempt {
  readonly lane: LaneName;
  readonly id: string;
  readonly attempt: number;
  /** Number of its agent on the host. */
  readonly agent: number;
  readonly traceparent: string | undefined;
}

/** The span `process <kind>` of one attempt, a child of the span that sent the task. */
export class ProcessSpan {
  readonly #span: Span;

  /** Undefined without an SDK. */
  static start(run: Attempt, names: Names, hostId: string): ProcessSpan | undefined {
    const made = tracer();
    if (made === undefined) return undefined;
    const { lane, id, attempt, agent, traceparent } = run;
    const attributes = {
      "messaging.system": "nats",
      "messaging.operation.type": "process",
      "messaging.operation.name": "process",
      "messaging.destination.name": names.task(lane.pool, lane.kind),
      "messaging.message.id": id,
      "vgas.pool": lane.pool,
      "vgas.kind": lane.kind,
      "vgas.attempt": attempt,
      "vgas.agent": agentId(hostId, agent),
    };
    const options = { kind: SpanKind.CONSUMER, attributes };
    return new ProcessSpan(made.startSpan(`process ${lane.kind}`, options, parentOf(traceparent)));
  }

  private constructor(span: Span) {
    this.#span = span;
  }

  get traceparent(): string {
    return traceparentOfSpan(this.#span);
  }

  /** Runs `work` so that spans which it starts, also later, are children of this one. */
  within<T>(work: () => T): T {
    return context.with(trace.setSpan(context.active(), this.#span), work);
  }

  /** Ends it; `error` is why the attempt failed. */
  end(error: WireError | undefined): void {
    if (error !== undefined) {
      this.#span.setAttribute("error.type", error.code);
      this.#span.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
    }
    this.#span.end();
  }
}
