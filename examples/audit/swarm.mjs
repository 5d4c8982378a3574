/**
 * A swarm of its own for a program that needs one for a while: a process with its own home, free ports and the given agents.
 * `embedded-swarm.ts` starts it.
 *
 * 1. It ends with its parent, however that ends: the channel between the two closes, and that counts as the order to stop.
 *    Only `keep` makes it stay.
 * 2. It makes its home, or takes over that of a predecessor that was killed, and removes it when it ends.
 */
import { appendFileSync, mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { resolveConfig, startHost, VgasError } from "vgas";

/** What runs at the stop is given this long, ms. */
const GRACE_MS = 5_000;

/** `-`, or the home of a predecessor; then the modules of the agents. */
const [given = "-", ...modules] = process.argv.slice(2);
/** @type {string | undefined} */
let home;
let kept = false;
let ending = false;
/** @type {Promise<import("vgas").Host> | undefined} */
let starting;

process.on("message", (order) => {
  if (order === "stop") void end(GRACE_MS, 0);
  else if (order === "keep") {
    kept = true;
    process.disconnect();
  }
});
process.on("disconnect", () => {
  if (!kept) void end(0, 0);
});
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"]))
  process.on(signal, () => void end(GRACE_MS, 0));

// Nobody reads it any more once the parent has gone.
process.stderr.on("error", () => undefined);

try {
  home = given === "-" ? mkdtempSync(join(tmpdir(), "vgas-audit-")) : given;
  // A parent that was gone before this could listen told nothing.
  if (!process.connected) await end(0, 0);
  const config = resolveConfig({ home, natsPort: 0, httpPort: 0, modules, graceMs: GRACE_MS });
  starting = startHost({ config, logger: logger() });
  const host = await starting;
  tell({ type: "ready", home });
  const error = await host.done;
  if (error !== undefined) await fail(error);
} catch (error) {
  await fail(error);
}

/** @param {unknown} error */
async function fail(error) {
  if (ending) return;
  const { message, exitCode } = error instanceof VgasError ? error : { message: String(error), exitCode: 70 };
  tell({ type: "failed", message });
  await end(0, exitCode);
}

/**
 * @param {number} graceMs
 * @param {number} code
 */
async function end(graceMs, code) {
  if (ending) return;
  ending = true;
  await starting?.then((host) => host.stop(graceMs)).catch(() => undefined);
  if (home !== undefined) await rm(home, { recursive: true, force: true }).catch(() => undefined);
  process.exit(code);
}

/** @param {object} message */
function tell(message) {
  if (process.connected) process.send?.(message);
}

/** Warnings and errors, one JSON line each, to the log in the home. */
function logger() {
  const quiet = () => undefined;
  /** @param {string} level */
  const write = (level) => (/** @type {object} */ fields, /** @type {string} */ message) => {
    const line = `${JSON.stringify({ level, message, ...fields })}\n`;
    process.stderr.write(line);
    if (home !== undefined) appendFileSync(join(home, "swarm.log"), line, { mode: 0o600 });
  };
  return { debug: quiet, info: quiet, warn: write("warn"), error: write("error") };
}
