/** The public interface of vgas. */
export { defineAgent } from "./actors/agent/definition.ts";
export { Client, connect } from "./client.ts";
export { TaskBatch } from "./client/batch.ts";
export { TaskHandle } from "./client/handle.ts";
export { PartialSubmitError } from "./client/many-tasks.ts";
export { resolveConfig } from "./config.ts";
export { startHost } from "./host.ts";
export { TaskError, VgasError } from "./protocols/errors.ts";

export type { Backoff } from "./actors/agent/backoff.ts";
export type {
  AgentDefinition,
  Task,
  TaskContext,
} from "./actors/agent/definition.ts";
export type { InputSchema } from "./actors/agent/schema.ts";
export type { TaskVault, VaultLease, VaultWaitOptions } from "./actors/agent/task-vault.ts";
export type { ActorDefinition, MailOf, MessageTable } from "./actors/runtime/definition.ts";
export type { ActorHandle } from "./actors/runtime/refs.ts";
export type { ConnectionDescription } from "./bus/credentials/connection-file.ts";
export type { BatchCancelled, BatchProgress } from "./client/batch.ts";
export type { ClientOptions } from "./client/connect-to-swarm.ts";
export type { ResultsOptions } from "./client.ts";
export type { EventsDropped } from "./client/event-feed.ts";
export type { AnyKinds, InputOf, KindsOf, KindTypes, OutputOf } from "./client/kinds.ts";
export type { NowHandle, NowOptions } from "./client/now.ts";
export type { SubmitManyOptions, SubmitOptions } from "./client/submit-options.ts";
export type { TaskOptions } from "./client/task-message.ts";
export type { CancelOptions } from "./client/task-questions.ts";
export type { CallOptions } from "./client/within.ts";
export type { Config, ConfigInput } from "./config.ts";
export type { Host, HostOptions } from "./host.ts";
export type { ErrorCode } from "./protocols/errors.ts";
export type { WireError } from "./protocols/wire-error.ts";
export type { Logger } from "./protocols/logger.ts";
export type {
  OutputEvent,
  ProgressEvent,
  RetryingEvent,
  TaskEvent,
  TaskResult,
  TaskUsage,
} from "./protocols/result.ts";
export type { TaskFields } from "./protocols/task.ts";
export type { CancelReply, TaskState } from "./protocols/task-state.ts";
