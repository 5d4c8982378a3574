/** Loaded before each test file: a test worker ends with the vitest that started it, also when that was killed in mid-test. */

// process.exit is vitest's own here, and only throws; SIGTERM is what supervisors of test processes may listen to.
process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
