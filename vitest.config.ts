import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/**
 * Swarms of many processes keep every core busy: two such files at once would slow each other down until something is late.
 * Each of them comes beside one that mostly waits.
 */
const FIRST = ["lan", "rotation", "vault", "lan-elasticity"].map((name) => `/test/e2e/${name}.test.ts`);

/**
 * Files that get a process of their own: whole swarms, whose processes end with it, and those that change what other files of the
 * process would see (modules, the memory that is in use). All others follow each other in the same few processes, which load
 * the sources once: so a test leaves nothing behind, neither in `process.env` nor on a prototype.
 */
const ALONE = [
  "test/e2e/**",
  "test/faults/quick.test.ts",
  "test/client/reach.test.ts",
  "test/actors/vault/accounting/meter.test.ts",
];

/**
 * Files that mostly wait come first: beside one that computes, and never as the last one that everything waits for. The files that
 * share processes come last, in one row, since a process is kept only for the next file of the same kind.
 */
class WaitingFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const turn = ({ moduleId, project }: TestSpecification): number => {
      const place = FIRST.findIndex((path) => moduleId.endsWith(path));
      if (place >= 0) return place;
      if (moduleId.includes("/test/e2e/")) return FIRST.length;
      return project.config.isolate ? FIRST.length + 1 : FIRST.length + 2;
    };
    return sorted.sort((one, other) => turn(one) - turn(other));
  }
}

const TESTS = "test/**/*.test.ts";

export default defineConfig({
  resolve: {
    alias: [
      { find: /^vgas$/, replacement: fileURLToPath(new URL("./src/index.ts", import.meta.url)) },
      { find: /^vgas\/testing$/, replacement: fileURLToPath(new URL("./src/testing.ts", import.meta.url)) },
    ],
  },
  test: {
    projects: [
      {
        extends: true,
        test: { name: "alone", include: ALONE.map((path) => path.replace(/\*\*$/, "**/*.test.ts")), isolate: true },
      },
      {
        extends: true,
        test: {
          name: "together",
          include: [TESTS],
          exclude: ALONE,
          isolate: false,
          globalSetup: ["test/support/bundle-programs.ts"],
        },
      },
    ],
    setupFiles: ["scripts/lib/test-worker.mjs"],
    // Many tests start a real nats-server and real processes: three files run at a time, since on two cores one of them mostly waits.
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
