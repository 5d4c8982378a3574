/** Child processes: captured, or shown on stderr; none outlives this process by its own fault. */
import { spawn, spawnSync } from "node:child_process";
import { constants } from "node:os";

/** @type {Set<import("node:child_process").ChildProcess>} */
const running = new Set();

/** Stops what runs, for a process that is about to go. */
export function stopChildren() {
  for (const child of running) child.kill("SIGTERM");
}

/**
 * @typedef {object} RunOptions
 * @property {string} [cwd]
 * @property {NodeJS.ProcessEnv} [env]
 * @property {number} [timeoutMs]
 */

/**
 * Runs to the end. `show` sends both outputs to our stderr; otherwise they are captured, at most their last 64 KiB each.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions & {show?: boolean}} [options]
 * @returns {Promise<{code: number, stdout: string, stderr: string}>} `code` is 128 + n after signal n
 * @throws if the command cannot be started, or takes longer than `timeoutMs`
 */
export function run(command, args, { cwd, env, timeoutMs, show = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      ...(cwd === undefined ? {} : { cwd }),
      env: env ?? process.env,
      stdio: show ? ["ignore", 2, 2] : ["ignore", "pipe", "pipe"],
      shell: process.platform === "win32" && command.endsWith(".cmd"),
    });
    running.add(child);
    let stdout = "";
    let stderr = "";
    let late = false;
    child.stdout?.setEncoding("utf8").on("data", (text) => {
      stdout = (stdout + text).slice(-65_536);
    });
    child.stderr?.setEncoding("utf8").on("data", (text) => {
      stderr = (stderr + text).slice(-65_536);
    });
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => (late = child.kill("SIGKILL")), timeoutMs);
    const settle = () => {
      running.delete(child);
      clearTimeout(timer);
    };
    child.once("error", (error) => {
      settle();
      reject(error);
    });
    child.once("close", (code, signal) => {
      settle();
      if (late) reject(new Error(`${command} took longer than ${timeoutMs} ms`));
      else resolve({ code: code ?? exitCodeOf(signal), stdout, stderr });
    });
  });
}

/**
 * Becomes a job: runs it with our stdin, stdout and stderr, passes signals on, and exits with its code.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<number>} its exit code
 */
export function become(command, args, env = process.env) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: "inherit", env });
    running.add(child);
    /** @param {NodeJS.Signals} signal */
    const pass = (signal) => {
      // Ctrl-C reaches the whole foreground group: passing it on would make it two, and the second means "at once".
      if (signal === "SIGINT" && process.stdin.isTTY) return;
      child.kill(signal);
    };
    /** @type {NodeJS.Signals[]} */
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
    for (const signal of signals) process.on(signal, pass);
    const settle = () => {
      running.delete(child);
      for (const signal of signals) process.off(signal, pass);
    };
    child.once("error", (error) => {
      settle();
      reject(error);
    });
    child.once("close", (code, signal) => {
      settle();
      resolve(code ?? exitCodeOf(signal));
    });
  });
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @returns {string | undefined} its stdout, undefined if it cannot run, fails, or takes more than 10 s
 */
export function outputOf(command, args) {
  const { status, stdout } = spawnSync(command, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    timeout: 10_000,
  });
  return status === 0 ? stdout : undefined;
}

/**
 * @param {NodeJS.Signals | null} signal
 * @returns {number}
 */
export function exitCodeOf(signal) {
  return signal === null ? 1 : 128 + constants.signals[signal];
}
