/**
 * What dispatchers and hosts say to each other. Internal: subjects `hosts.<hostId>.*`, `settled.<dispatcherId>` and
 * `heartbeats.<hostId>`.
 *
 * | message | subject | sender | reply |
 * |---|---|---|---|
 * | Burst | hosts.<h>.burst | dispatcher | Receipt |
 * | Recall | hosts.<h>.recall | dispatcher | Receipt of that burst, or `{unknown: true}`: it will never be taken |
 * | Owned | hosts.<h>.owned | dispatcher | the numbers among those asked that the host still owns |
 * | Running | hosts.<h>.running | dispatcher | the ids among those asked that the host runs or has not settled |
 * | Where | hosts.<h>.where | dispatcher | how the ids among those asked that the host runs are doing |
 * | Cancel | hosts.<h>.cancel | dispatcher | the ids among those asked that the host runs: they were told to end |
 * | Beat | hosts.<h>.beat | dispatcher | `{v: 1}`: its heartbeat is on its way |
 * | Drain | hosts.<h>.drain | operator | `{v: 1}`: the node drains and ends, as at SIGTERM |
 * | Stats | hosts.<h>.stats | observer | HostStats |
 * | Settled | settled.<d> | host | none |
 * | Heartbeat | heartbeats.<h> | host | none |
 *
 * Numbers of agents are the host's own (0, 1, 2, …); `n` numbers one assignment within its dispatcher's life.
 */
import { z } from "zod";

/** Most providers that an agent may declare: a grant that names them all fits in a few kilobytes. */
export const MAX_PROVIDERS = 64;

const int = z.number().int();
const count = int.min(0);
/** Bytes of a msgpack bin: msgpackr gives a Buffer, which is a Uint8Array. */
const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array);

/**
 * One task handed over: `[n, agent, ticket, attempt, id, submittedAt, timeoutMs, maxAttempts, ack, body, grant?, traceparent?]`.
 * `ack` is the task's ack subject, or "" for an array element, whose dispatcher acknowledges. `body` is the task as it came.
 * `grant` is there for an agent that declares providers: what it shows the vault (SignedGrant of vault/messages.ts); null
 * stands for none where `traceparent`, the W3C trace context of the task's message, follows.
 */
export const assignment = z.tuple([
  count,
  count,
  count,
  int.min(1),
  z.string(),
  z.number(),
  count,
  int.min(1),
  z.string(),
  bytes,
  bytes.nullable().optional(),
  z.string().optional(),
]);
export type Assignment = z.infer<typeof assignment>;

/** All assignments of one batch for one host. `run` is the incarnation meant; `burst` numbers the dispatcher's bursts. */
export const burst = z.object({
  v: z.literal(1),
  from: z.string(),
  burst: count,
  run: z.string(),
  pool: z.string(),
  kind: z.string(),
  /** Where the roster of these tickets began; a host counts tickets per base. */
  base: count,
  items: z.array(assignment),
  /** Pairs `agent, tasks`: no more than these may run on it, where its share of the kind's limit is below its slots. */
  caps: z.array(count).optional(),
});
export type Burst = z.infer<typeof burst>;

/**
 * What became of a burst. `refused` lists the `n` that were not taken: their turns were skipped. `free` is pairs
 * `agent, free slots` of every agent the burst named, after taking. `gone`: another incarnation answers. `draining`: the host
 * takes nothing more. In both cases nothing was taken.
 */
export const receipt = z.object({
  v: z.literal(1),
  burst: count,
  refused: z.array(count),
  free: z.array(int),
  gone: z.boolean().optional(),
  draining: z.boolean().optional(),
});
export type Receipt = z.infer<typeof receipt>;

export const recall = z.object({ v: z.literal(1), from: z.string(), burst: count });
export const recallReply = z.union([receipt, z.object({ v: z.literal(1), unknown: z.literal(true) })]);
export type RecallReply = z.infer<typeof recallReply>;

export const owned = z.object({ v: z.literal(1), from: z.string(), ns: z.array(count) });
export const ownedReply = z.object({ v: z.literal(1), run: z.string(), ns: z.array(count) });

export const running = z.object({ v: z.literal(1), pool: z.string(), ids: z.array(z.string()) });
export type Running = z.infer<typeof running>;
export const runningReply = z.object({ v: z.literal(1), ids: z.array(z.string()) });
export type RunningReply = z.infer<typeof runningReply>;

/** A task that a host runs, or has not settled. Times are ms since the epoch. */
export const runningTask = z.object({
  id: z.string(),
  pool: z.string(),
  kind: z.string(),
  agent: z.string(),
  attempt: int.min(1),
  /** 0 before it started. */
  startedAt: z.number(),
});
export type RunningTask = z.infer<typeof runningTask>;

/** Asked as `running` is. */
export const whereReply = z.object({ v: z.literal(1), tasks: z.array(runningTask) });
export type WhereReply = z.infer<typeof whereReply>;

/** `force`: also a node that runs the nats-server of the swarm, which it refuses otherwise. */
export const drain = z.object({ v: z.literal(1), force: z.boolean().optional() });

/**
 * What ended since the last notice, and free slots as they are now (absolute, pairs `agent, free`).
 * `done`: assignments that need nothing more. `again`: array elements that failed and may be tried again, pairs `n, delayMs`.
 */
export const settled = z.object({
  v: z.literal(1),
  host: z.string(),
  run: z.string(),
  free: z.array(int),
  done: z.array(count),
  again: z.array(count),
});
export type Settled = z.infer<typeof settled>;

/** What the whole swarm may do of each kind of an agent: `concurrency` tasks at once, `tasks` begun in any `perMs`. */
export const kindLimits = z.object({
  concurrency: int.min(1).max(1_000_000).optional(),
  rate: z.object({ tasks: int.min(1).max(1_000_000), perMs: int.min(1).max(86_400_000) }).optional(),
});
export type KindLimits = z.infer<typeof kindLimits>;

/** `count` agents numbered from `first`, each with `slots`, that take tasks of these kinds in this pool. */
export const agentGroup = z.object({
  pool: z.string(),
  kinds: z.array(z.string()).max(1_000),
  first: count,
  count: int.min(1).max(1_000_000),
  slots: int.min(1).max(1_000_000),
  /** Providers whose keys these agents ask the vault for; left out if there are none. */
  providers: z.array(z.string().max(64)).max(MAX_PROVIDERS).optional(),
  /** Of each of `kinds`; left out if there are none. */
  limits: kindLimits.optional(),
});
export type AgentGroup = z.infer<typeof agentGroup>;

/** Liveness and load, once a second, from a thread of its own. */
export const heartbeat = z.object({
  v: z.literal(1),
  host: z.string(),
  /** Incarnation: differs after each start of the host. */
  run: z.string(),
  seq: count,
  /** Milliseconds since the epoch by the host's clock; for display only. */
  at: z.number(),
  pid: count,
  machine: z.string(),
  roles: z.array(z.string()),
  /** How long the main loop has not answered, ms. */
  lagMs: z.number(),
  /** A task has blocked the main loop past its deadline: take nothing from it for granted. */
  stalled: z.boolean(),
  draining: z.boolean(),
  groups: z.array(agentGroup).max(10_000),
  /** Running tasks of agent 0, 1, 2, … */
  running: z.array(count),
  started: count,
  finished: count,
  failed: count,
});
export type Heartbeat = z.infer<typeof heartbeat>;

/** Tickets that carried a task, per lane, since the roster that began at `base`: pairs `agent, tickets`. */
export const hostStats = z.object({
  v: z.literal(1),
  host: z.string(),
  run: z.string(),
  lanes: z.array(z.object({ pool: z.string(), kind: z.string(), base: count, tickets: z.array(count) })),
  running: z.array(count),
  abandoned: count,
  /** Those that run longest, the oldest first; at most ten. */
  slowest: z.array(runningTask).max(10).optional(),
});
export type HostStats = z.infer<typeof hostStats>;

/**
 * What is known of a task's executions: `attempts` began or count as begun; not to be started before `notBefore` (ms since
 * the epoch), nor, where `delayMs` is there, after a longer pause than that, whatever clocks say. `ended`: the last of them is known
 * to be over, or never to have begun.
 */
const attemptsOfOne = z.object({
  v: z.literal(1),
  attempts: count,
  notBefore: z.number().optional(),
  delayMs: z.number().optional(),
  ended: z.boolean().optional(),
  /** In no other record: who wrote it knows it again. */
  by: z.string().optional(),
  /** Of the task that it counts: its id may be that of others. */
  submittedAt: z.number().optional(),
  error: z.object({ code: z.string(), message: z.string(), retryable: z.boolean() }).optional(),
});
export type AttemptsRecord = z.infer<typeof attemptsOfOne>;

/** What is kept of a task's executions, and of those of `others` that were submitted under the same id. */
export const attemptsRecord = attemptsOfOne.extend({ others: z.array(attemptsOfOne).optional() });

/**
 * Which message an element of an array runs from, once it is not the array's first delivery (bus/element-owners.ts): a later
 * delivery of the array (`by`), or the message at sequence `as`, as which it was published again after `moved` executions.
 */
export const elementOwner = z.object({
  v: z.literal(1),
  by: z.string().optional(),
  moved: count.optional(),
  as: count.optional(),
});
export type ElementOwner = z.infer<typeof elementOwner>;
