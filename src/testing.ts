/** `vgas/testing`: agents tried without a swarm. */

export type { LogLine, TestAttempt, TestOptions, TestRun, TestTask, TestVault } from "./testing/test-agent.ts";
export { testAgent } from "./testing/test-agent.ts";
