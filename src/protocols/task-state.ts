/**
 * What clients ask dispatchers about single tasks: `cancel.<pool>.<id>`, `status.<pool>.<id>` and `now.<pool>.<kind>`.
 *
 * | subject | body | reply |
 * |---|---|---|
 * | cancel.<pool>.<id> | CancelRequest, or nothing | CancelReply |
 * | status.<pool>.<id> | nothing | TaskState |
 * | now.<pool>.<kind> | one task | NowReply |
 *
 * Each is answered by one dispatcher, or with `{error}`; in the encoding of the question, an empty one in msgpack.
 */
import { z } from "zod";
import { PRIORITIES } from "./subjects.ts";

const time = z.number();
const count = z.number().int().min(0);

/** `kind`: of the task, if the asker knows it. `waiting`: a task that runs is left alone. */
export const cancelRequest = z.object({ kind: z.string().optional(), waiting: z.boolean().optional() });
export type CancelRequest = z.infer<typeof cancelRequest>;

/**
 * `cancelled`: it waited; its result is stored, and it will be dropped when it is reached. `cancelling`: it runs, and was told.
 * `finished`: its result was there already. `running`: it runs, and only a waiting one was to be cancelled. `unknown`: an
 * automatic id that is gone.
 */
export const cancelReply = z.object({
  id: z.string(),
  state: z.enum(["cancelled", "cancelling", "finished", "running", "unknown"]),
});
export type CancelReply = z.infer<typeof cancelReply>;

export const nowReply = z.object({ id: z.string(), agent: z.string() });
export type NowReply = z.infer<typeof nowReply>;

const error = z.object({ code: z.string(), message: z.string(), retryable: z.boolean() });

/** Where a task is. Times are ms since the epoch. `unknown`: nothing is known under that id, or it is too far back in the queue to be seen. */
export const taskState = z.discriminatedUnion("state", [
  z.object({
    state: z.literal("waiting"),
    id: z.string(),
    pool: z.string(),
    kind: z.string(),
    priority: z.enum(PRIORITIES),
    submittedAt: time,
    /** Executions so far, and the error of the last one. */
    attempts: count,
    error: error.optional(),
    /** It is to start then, not before. */
    notBefore: time.optional(),
  }),
  z.object({
    state: z.literal("running"),
    id: z.string(),
    pool: z.string(),
    kind: z.string(),
    host: z.string(),
    agent: z.string(),
    attempt: count,
    startedAt: time,
  }),
  z.object({
    state: z.literal("finished"),
    id: z.string(),
    pool: z.string(),
    kind: z.string(),
    status: z.enum(["ok", "failed", "cancelled", "expired"]),
    attempt: count,
    finishedAt: time,
    error: error.optional(),
  }),
  z.object({ state: z.literal("unknown"), id: z.string(), pool: z.string() }),
]);
export type TaskState = z.infer<typeof taskState>;
