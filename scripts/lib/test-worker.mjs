/** Loaded before each test file: a test worker ends with the vitest that started it, also when that was killed in mid-test. */

const DONE = Symbol.for("vgas.test-worker");

// A worker that runs several files loads this for each of them.
if (!Reflect.has(process, DONE)) {
  Reflect.set(process, DONE, true);
  // process.exit is vitest's own here, and only throws; SIGTERM is what supervisors of test processes may listen to.
  process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
}
