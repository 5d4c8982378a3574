import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/**
 * Swarms of many processes keep every core busy: two such files at once would slow each other down until something is late.
 * Each of them comes beside one that mostly waits.
 */
const FIRST = ["lan", "rotation", "vault", "lan-elasticity"].map((name) => `/test/e2e/${name}.test.ts`);

/** Files that mostly wait come first: beside one that computes, and never as the last one that everything waits for. */
class WaitingFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const turn = ({ moduleId }: TestSpecification): number => {
      const place = FIRST.findIndex((path) => moduleId.endsWith(path));
      if (place >= 0) return place;
      return moduleId.includes("/test/e2e/") ? FIRST.length : FIRST.length + 1;
    };
    return sorted.sort((one, other) => turn(one) - turn(other));
  }
}

export default defineConfig({
  resolve: {
    alias: [{ find: /^vgas$/, replacement: fileURLToPath(new URL("./src/index.ts", import.meta.url)) }],
  },
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["scripts/lib/test-worker.mjs"],
    // Many tests start a real nats-server and real processes: a file gets its own process, and three run at a time: on two
    // cores one of them mostly waits.
    pool: "forks",
    maxWorkers: 3,
    fileParallelism: true,
    // In files that say so, whole swarms run side by side: more of them than this would get in each other's way.
    maxConcurrency: 3,
    sequence: { sequencer: WaitingFirst },
    // Against what hangs; nothing is to be learnt from how long a test takes on a busy machine.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    teardownTimeout: 20_000,
    // A test that passes only at the second try has found something.
    retry: 0,
    allowOnly: false,
  },
});
