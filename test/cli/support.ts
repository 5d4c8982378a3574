/** Runs bin/vgas as a user would: a process of its own, its exit code, and what it wrote. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

export const BIN = fileURLToPath(new URL("../../bin/vgas", import.meta.url));
export const FIXTURES = fileURLToPath(new URL("fixtures/", import.meta.url));

/** A node that has nothing to finish stops within a second. */
const STOP_MS = 10_000;

export interface Finished {
  /** The exit code, or the signal's name. */
  readonly code: number | string | null;
  readonly out: string;
  readonly err: string;
}

export interface Running {
  readonly child: ChildProcess;
  /** Lines of standard output so far. */
  readonly lines: readonly string[];
  err(): string;
  /** Resolves with line `number` (from 0) of standard output. */
  line(number: number): Promise<string>;
  /** Resolves when standard error holds `text`. */
  said(text: string): Promise<void>;
  readonly end: Promise<Finished>;
}

interface RunOptions {
  readonly stdin?: string | "open";
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a command to its end. */
export async function vgas(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return await start(args, options).end;
}

/** Starts a command; it is stopped at the end of the test. */
export function start(args: readonly string[], { stdin = "", env = {} }: RunOptions = {}): Running {
  const child = spawn(process.execPath, [BIN, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...commandEnvironment(), ...env },
  });
  child.stdin.on("error", () => undefined);
  if (stdin !== "open") child.stdin.end(stdin);
  const lines: string[] = [];
  let err = "";
  const listeners = new Set<() => void>();
  const tell = (): void => {
    for (const listener of [...listeners]) listener();
  };
  createInterface(child.stdout).on("line", (line) => {
    lines.push(line);
    tell();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
    tell();
  });
  const closed = once(child, "close");
  // Not its exit: what it wrote last can still be on its way then.
  let over = false;
  const end = closed.then(() => {
    over = true;
    tell();
    return { code: child.exitCode ?? child.signalCode, out: lines.map((line) => `${line}\n`).join(""), err };
  });
  const until = async (ready: () => boolean, what: string): Promise<void> => {
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        if (ready()) resolve();
        else if (over) reject(new Error(`ended without ${what}:\n${err}`));
        else return;
        listeners.delete(look);
      };
      listeners.add(look);
      look();
    });
  };
  onTestFinished(async () => {
    // A node that is killed leaves its nats-server to its successor; one that is asked takes it along.
    child.kill("SIGTERM");
    const last = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await closed;
    clearTimeout(last);
  });
  return {
    child,
    lines,
    err: () => err,
    line: async (number) => {
      await until(() => lines.length > number, `line ${number}`);
      return lines[number] ?? "";
    },
    said: (text) => until(() => err.includes(text), text),
    end,
  };
}

/** A directory that is gone after the test. */
export function temporary(): string {
  const dir = mkdtempSync(join(tmpdir(), "vgas-cli-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));
  return dir;
}

/** The environment of every command: what the test run says about where its nats-server is, and nothing of the user's. */
export function commandEnvironment(): Record<"PATH" | "HOME", string> {
  const path = process.env["VGAS_NATS_SERVER"];
  const server = path === undefined ? undefined : { VGAS_NATS_SERVER: path };
  return { PATH: process.env["PATH"] ?? "", HOME: "/nonexistent", ...server };
}
