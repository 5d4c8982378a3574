/**
 * One nats-server process, started here or inherited from a dead predecessor.
 *
 * It runs in a session of its own: the Ctrl-C that tells the node to drain must not end the broker under it. Its standard
 * error is a file, not a pipe: a pipe's reader dies with the node, and writing to such a pipe would end the broker.
 */
import { spawn } from "node:child_process";
import { open } from "node:fs/promises";
import type { Clock, Timer } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import { diskError, PRIVATE_FILE_MODE } from "../home/files.ts";
import { identify, liveness, type ProcessIdentity } from "../home/process-identity.ts";
import { withTimerSlack } from "./timer-slack.ts";

const WATCH_PERIOD_MS = 250;

export interface BrokerProcess {
  readonly identity: ProcessIdentity;
  /** Settles when the process has ended, with how. Never rejects. */
  readonly ended: Promise<string>;
  /** False if it is gone. */
  signal(name: NodeJS.Signals): boolean;
}

export interface SpawnOptions {
  readonly binary: string;
  readonly config: string;
  readonly stderr: string;
  readonly directory: string;
  readonly environment: NodeJS.ProcessEnv;
  /** How late its timers may be; undefined: as the system has it. */
  readonly timerSlackNs: number | undefined;
}

/** Arguments of a broker: unique to its home, so it is found again by them. */
export function brokerArguments(config: string): readonly string[] {
  return ["-c", config];
}

/**
 * The process, or how it ended if that was before it could be looked at.
 *
 * @throws VgasError BROKER_FAILED if it cannot be executed
 */
export async function spawnBroker(options: SpawnOptions): Promise<BrokerProcess | string> {
  const stderr = await open(options.stderr, "w", PRIVATE_FILE_MODE).catch((error: unknown) => {
    throw diskError(error, `write ${options.stderr}`);
  });
  try {
    const child = withTimerSlack(options.timerSlackNs, () =>
      spawn(options.binary, brokerArguments(options.config), {
        cwd: options.directory,
        env: options.environment,
        detached: true,
        stdio: ["ignore", "ignore", stderr.fd],
      }),
    );
    const ended = new Promise<string>((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("exit", (code, signal) => resolve(signal === null ? `exit code ${code}` : `signal ${signal}`));
    });
    if (child.pid === undefined) {
      throw new VgasError("BROKER_FAILED", `${options.binary} cannot be executed: ${await ended}`);
    }
    const identity = await identify(child.pid);
    if (identity === undefined) return await ended;
    return { identity, ended, signal: (name) => child.kill(name) };
  } finally {
    await stderr.close();
  }
}

/** Takes over a process that this one did not start: its end is seen by looking, not by being told. */
export function adoptBroker(identity: ProcessIdentity, clock: Clock): BrokerProcess {
  const ended = new Promise<string>((resolve) => {
    const watching: Timer = clock.setInterval(() => {
      void liveness(identity).then((life) => {
        if (life !== "dead") return;
        clock.clear(watching);
        resolve("it is gone");
      });
    }, WATCH_PERIOD_MS);
  });
  return { identity, ended, signal: (name) => kill(identity.pid, name) };
}

/** Ends a broker: it is asked first, so that it closes its store in order, and made to after `graceMs`. */
export async function stopBroker(broker: BrokerProcess, graceMs: number, clock: Clock): Promise<void> {
  broker.signal("SIGTERM");
  // One that was suspended hears the other signal only when it goes on.
  broker.signal("SIGCONT");
  let grace: Timer | undefined;
  const late = new Promise<"late">((resolve) => {
    grace = clock.setTimeout(() => resolve("late"), graceMs);
  });
  if ((await Promise.race([broker.ended, late])) === "late") broker.signal("SIGKILL");
  clock.clear(grace);
  await broker.ended;
}

function kill(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}
