/**
 * Ends with the npm that runs us.
 *
 * npm hands a signal to its shell only. On SIGTERM the shell dies at once, npm too, and the job would go on as an orphan: a
 * stopped `npm start` would leave a swarm behind. So a changed parent counts as a SIGTERM, unless a signal has come already
 * (the second one would mean "at once", where the first means "finish").
 */

const LOOK_MS = 250;

/** Does nothing unless npm runs us. Never keeps the process alive. */
export function endWithNpm() {
  if (process.env["npm_lifecycle_event"] === undefined || process.platform === "win32") return;
  const parent = process.ppid;
  let told = false;
  for (const [signal, code] of /** @type {const} */ ([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ])) {
    process.on(signal, () => {
      told = true;
      // A listener, even this one, takes the signal's usual effect away; nobody else wanted it, so it is given back.
      if (process.listenerCount(signal) === 1) process.exit(code);
    });
  }
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    if (!told) process.kill(process.pid, "SIGTERM");
  }, LOOK_MS);
  timer.unref();
}
