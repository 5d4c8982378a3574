import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Files that mostly wait come first: beside one that computes, and never as the last one that everything waits for. */
class WaitingFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const waits = ({ moduleId }: TestSpecification): boolean => moduleId.includes("/test/e2e/");
    return [...sorted.filter(waits), ...sorted.filter((file) => !waits(file))];
  }
}

export default defineConfig({
  resolve: {
    alias: [{ find: /^vgas$/, replacement: fileURLToPath(new URL("./src/index.ts", import.meta.url)) }],
  },
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["scripts/lib/test-worker.mjs"],
    // Many tests start a real nats-server and real processes: a file gets its own process, and two run at a time.
    pool: "forks",
    maxWorkers: 2,
    fileParallelism: true,
    // In files that say so, whole swarms run side by side: more of them than this would get in each other's way.
    maxConcurrency: 3,
    sequence: { sequencer: WaitingFirst },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
    // A test that passes only at the second try has found something.
    retry: 0,
    allowOnly: false,
  },
});
