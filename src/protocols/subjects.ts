/**
 * Every subject, stream, consumer, bucket and header of vgas is built here and nowhere else.
 *
 * ```
 * <prefix>.tasks.<pool>.<kind>          client -> swarm      stored in <PREFIX>_TASKS; with .high or .low behind it: of that priority
 * <prefix>.now.<pool>.<kind>            client -> swarm      request
 * <prefix>.results.<pool>.<taskId>      swarm -> client      stored in <PREFIX>_RESULTS
 * <prefix>.events.<pool>.<taskId>       swarm -> client
 * <prefix>.dead.<pool>.<taskId>         swarm -> operator    stored in <PREFIX>_DEAD
 * <prefix>.cancel.<pool>.<taskId>       client -> swarm      request
 * <prefix>.status.<pool>.<taskId>       client -> swarm      request: where is that task
 * <prefix>.actors.<name>[.<hostId>]     anyone allowed       mailbox
 * <prefix>.heartbeats.<hostId>          host -> swarm        once a second
 * <prefix>.hosts.<hostId>.burst|recall|owned|running|where|cancel|drain|stats   swarm -> host   requests
 * <prefix>.settled.<dispatcherId>       host -> dispatcher   what ended, and free slots
 * <prefix>.guests.<guest>.tasks.<pool>.<kind>      what a guest publishes as <prefix>.tasks.<pool>.<kind> in its own account
 * <prefix>.guests.<guest>.read.<pool>.<taskId>    what it reads as a direct get of <prefix>.results.<pool>.<taskId>
 * <prefix>.guests.<guest>.results.<pool>.<taskId> its results, imported there as <prefix>.results.<pool>.<taskId>
 * <prefix>.audit.<vaultId>              vault -> auditor     checkpoints of the vault's trail, stored in <PREFIX>_AUDIT
 * ```
 *
 * `<prefix>` and every `<...>` are tokens (tokens.ts). Callers check tokens at the door; builders do not check again.
 */

/** Headers of messages in the task stream and in the rotation bucket. */
export const HEADERS = {
  /** De-duplication id of a publish, defined by JetStream. */
  msgId: "Nats-Msg-Id",
  /** The atomic batch that a message was stored with, its place in it from 1, and what ends it; defined by JetStream. */
  batchId: "Nats-Batch-Id",
  batchSequence: "Nats-Batch-Sequence",
  batchCommit: "Nats-Batch-Commit",
  /** Id that a re-queued array element keeps. Only dispatchers set it. */
  taskId: "Vgas-Task-Id",
  /** Submission time of a re-queued element, ms since the epoch. */
  submittedAt: "Vgas-Submitted-At",
  /** Executions of a re-queued element that count already. Only dispatchers set it. */
  attempts: "Vgas-Attempts",
  /** Automatic id of a re-queued element within its array: names the record of its owner. Only dispatchers set it. */
  element: "Vgas-Element",
  /** On a rotation record: the highest task stream sequences handed out when it was written: `normal`, or `normal,high,low`. */
  dealt: "Vgas-Dealt",
  /** Inbox that is told the agent of a task that came by `now`, or that none was free. Only dispatchers set it. */
  nowReply: "Vgas-Now-Reply",
  /** When a task that came by `now` is dropped if no agent has it by then, ms since the epoch. Only dispatchers set it. */
  nowUntil: "Vgas-Now-Until",
  /** W3C trace context, carried from the task to its result and events. */
  traceparent: "traceparent",
} as const;

/** The parts of a task, result, event, dead or cancel subject behind the prefix. */
export interface LaneName {
  readonly pool: string;
  readonly kind: string;
}

/** Levels of waiting tasks, the first one to be served first; each has a subject and a consumer of its own. */
export const PRIORITIES = ["high", "normal", "low"] as const;
export type Priority = (typeof PRIORITIES)[number];

export function isPriority(value: unknown): value is Priority {
  return (PRIORITIES as readonly unknown[]).includes(value);
}

/** Queue group of the dispatchers: what clients ask, one of them answers. */
export const DISPATCHERS = "dispatchers";

/** Separates pool and kind in a consumer's name: no token can hold it, so the name is injective. */
const LANE_SEPARATOR = "=";

/** All names of the swarm with this prefix. */
export class Names {
  readonly prefix: string;
  readonly streams: {
    readonly tasks: string;
    readonly results: string;
    readonly dead: string;
    readonly audit: string;
  };
  readonly buckets: {
    readonly rotation: string;
    readonly attempts: string;
    readonly owners: string;
    readonly vault: string;
    /** Lanes that are paused. */
    readonly control: string;
    /** Tasks that were cancelled before a dispatcher reached them. */
    readonly cancels: string;
    readonly checkpoints: string;
    readonly batches: string;
  };
  /** What is too large for a message: of tasks that wait, and of results. */
  readonly objectStores: { readonly inputs: string; readonly outputs: string };

  constructor(prefix = "vgas") {
    this.prefix = prefix;
    const upper = prefix.toUpperCase();
    this.streams = {
      tasks: `${upper}_TASKS`,
      results: `${upper}_RESULTS`,
      dead: `${upper}_DEAD`,
      audit: `${upper}_AUDIT`,
    };
    this.buckets = {
      rotation: `${prefix}_rotation`,
      attempts: `${prefix}_attempts`,
      owners: `${prefix}_owners`,
      vault: `${prefix}_vault`,
      control: `${prefix}_control`,
      cancels: `${prefix}_cancels`,
      checkpoints: `${prefix}_checkpoints`,
      batches: `${prefix}_batches`,
    };
    this.objectStores = { inputs: `${prefix}_inputs`, outputs: `${prefix}_outputs` };
  }

  task(pool: string, kind: string, priority: Priority = "normal"): string {
    const lane = `${this.prefix}.tasks.${pool}.${kind}`;
    return priority === "normal" ? lane : `${lane}.${priority}`;
  }

  /** The subjects of a lane's tasks, of every priority; `*` for any pool or kind. */
  tasks(pool: string, kind: string): readonly string[] {
    return PRIORITIES.map((priority) => this.task(pool, kind, priority));
  }

  /** Covers every task subject. */
  allTasks(): string {
    return `${this.prefix}.tasks.>`;
  }

  now(pool: string, kind: string): string {
    return `${this.prefix}.now.${pool}.${kind}`;
  }

  result(pool: string, id: string): string {
    return `${this.prefix}.results.${pool}.${id}`;
  }

  event(pool: string, id: string): string {
    return `${this.prefix}.events.${pool}.${id}`;
  }

  dead(pool: string, id: string): string {
    return `${this.prefix}.dead.${pool}.${id}`;
  }

  cancel(pool: string, id: string): string {
    return `${this.prefix}.cancel.${pool}.${id}`;
  }

  status(pool: string, id: string): string {
    return `${this.prefix}.status.${pool}.${id}`;
  }

  actor(name: string, hostId?: string): string {
    return hostId === undefined ? `${this.prefix}.actors.${name}` : `${this.prefix}.actors.${name}.${hostId}`;
  }

  heartbeat(hostId: string): string {
    return `${this.prefix}.heartbeats.${hostId}`;
  }

  /** A request to one host. */
  host(hostId: string, operation: HostOperation | "*"): string {
    return `${this.prefix}.hosts.${hostId}.${operation}`;
  }

  settled(dispatcherId: string): string {
    return `${this.prefix}.settled.${dispatcherId}`;
  }

  /** A subject of one guest on the swarm's side of its account; `guest` `*` for all. */
  guest(guest: string, operation: GuestOperation, pool: string, name: string): string {
    return `${this.prefix}.guests.${guest}.${operation}.${pool}.${name}`;
  }

  /** Checkpoints of that vault's audit trail. */
  audit(vaultId: string): string {
    return `${this.prefix}.audit.${vaultId}`;
  }

  /** Durable consumer of a lane's tasks of one priority. */
  consumer(lane: LaneName, priority: Priority = "normal"): string {
    const name = `${lane.pool}${LANE_SEPARATOR}${lane.kind}`;
    return priority === "normal" ? name : `${name}${LANE_SEPARATOR}${priority}`;
  }

  /** Key of a lane's rotation record in the rotation bucket. */
  rotationKey(lane: LaneName): string {
    return `${lane.pool}.${lane.kind}`;
  }

  /** Key of a lane's roster in the rotation bucket. */
  rosterKey(lane: LaneName): string {
    return `${lane.pool}.${lane.kind}.roster`;
  }

  /** Key in the control bucket: there while the lane is paused. */
  pauseKey(lane: LaneName): string {
    return `pause.${lane.pool}.${lane.kind}`;
  }

  /** Key of a task in the buckets that keep something of single tasks. */
  taskKey(pool: string, id: string): string {
    return `${pool}.${id}`;
  }

  /** Key of the record that says which message an element of an array runs from; `element` is its automatic id. */
  elementKey(pool: string, element: string): string {
    return `${pool}.${element}.owner`;
  }

  /** Key of what is kept of a batch; a large one has further parts, from 1 on. */
  batchKey(pool: string, id: string, part = 0): string {
    return part === 0 ? `${pool}.${id}` : `${pool}.${id}.${part}`;
  }

  /** Lane and priority of a task subject; undefined if it is none. */
  parseTask(subject: string): (LaneName & { readonly priority: Priority }) | undefined {
    const [prefix, tasks, pool, kind, priority = "normal", ...more] = subject.split(".");
    const whole = prefix === this.prefix && tasks === "tasks" && more.length === 0;
    return whole && pool && kind && isPriority(priority) ? { pool, kind, priority } : undefined;
  }

  /** `{pool, kind}` of a task or now subject, or `{pool, id}` as `kind` of a result, event, dead or cancel subject. */
  parse(subject: string): LaneName | undefined {
    const rest = subject.startsWith(`${this.prefix}.`) ? subject.slice(this.prefix.length + 1) : "";
    const parts = rest.split(".");
    const [, pool, kind] = parts;
    return parts.length === 3 && pool && kind ? { pool, kind } : undefined;
  }
}

const TASK_SUBJECT = /^[^.]+\.tasks\.[^.]+\.[^.]+(\.(high|low))?$/;

/** Whether it is one of some swarm, whatever its prefix. */
export function isTaskSubject(subject: string): boolean {
  return TASK_SUBJECT.test(subject);
}

export const HOST_OPERATIONS = [
  "burst",
  "recall",
  "owned",
  "running",
  "where",
  "cancel",
  "beat",
  "drain",
  "stats",
] as const;
export type HostOperation = (typeof HOST_OPERATIONS)[number];

/** `tasks`: `name` is a kind; `read` and `results`: a task id. */
export type GuestOperation = "tasks" | "read" | "results";

/** Subject under which JetStream keeps `key` of `bucket`. */
export function kvSubject(bucket: string, key: string): string {
  return `$KV.${bucket}.${key}`;
}

/** Stream behind a KV bucket. */
export function kvStream(bucket: string): string {
  return `KV_${bucket}`;
}

/** Stream behind an object store. */
export function objectStream(store: string): string {
  return `OBJ_${store}`;
}

/** Subjects of an object store's chunks and of what describes its objects. */
export function objectSubjects(store: string): readonly string[] {
  return [`$O.${store}.C.>`, `$O.${store}.M.>`];
}

/** Subject of the chunks of one object; `id` is a token that what describes it names. */
export function objectChunks(store: string, id: string): string {
  return `$O.${store}.C.${id}`;
}

/** Subject of what describes the object of that name, which may be any text. */
export function objectInfo(store: string, name: string): string {
  const encoded = Buffer.from(name, "utf8").toString("base64").replaceAll("+", "-").replaceAll("/", "_");
  return `$O.${store}.M.${encoded}`;
}

/** JetStream API subjects used without the client library's wrapper. */
export const jsApi = {
  /** Whether JetStream is there, and what the account has in it. */
  accountInfo: "$JS.API.INFO",
  /** Direct read of the newest message of one subject, or of several with `multi_last`. */
  directGet: (stream: string): string => `$JS.API.DIRECT.GET.${stream}`,
  /** The same for one subject, which the server's permissions can tell from others then. */
  directGetOf: (stream: string, subject: string): string => `$JS.API.DIRECT.GET.${stream}.${subject}`,
  messageGet: (stream: string): string => `$JS.API.STREAM.MSG.GET.${stream}`,
  next: (stream: string, consumer: string): string => `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`,
} as const;

/** Every subject that acknowledges a delivery begins so; what follows is JetStream's business (bus/delivery.ts). */
export const ACK_PREFIX = "$JS.ACK.";

/** An inbox prefix of its own per credential, so that no credential reads another's answers. */
export function inboxPrefix(user: string): string {
  return `_INBOX.${user}`;
}
