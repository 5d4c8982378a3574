/** The log of a process on standard error: JSON lines, or lines for people. */
import { type DestinationStream, pino } from "pino";
import type { Config } from "../config.ts";
import type { Logger } from "../protocols/logger.ts";
import { withoutSecrets } from "./secrets.ts";
import { printable, type Style } from "./style.ts";
import type { Terminal } from "./terminal.ts";

export type LogLevel = Config["logLevel"];

const STANDARD_ERROR = 2;

/** `auto`: JSON unless standard error is a terminal. */
export type LogForm = "auto" | "json" | "lines";

/** A logger that never throws. Lines for people go through `terminal`, so that they do not break its progress line. */
export function createLogger(terminal: Terminal, level: LogLevel, form: LogForm): Logger {
  if (form === "json" || (form === "auto" && process.stderr.isTTY !== true)) {
    return jsonLogger(level, pino.destination({ fd: STANDARD_ERROR, sync: true }));
  }
  const write = (line: string): void => terminal.note(humanLine(line, terminal.errStyle));
  return pino({ level, base: null, hooks: { streamWrite: withoutSecrets } }, { write });
}

/** The JSON form, to any destination. */
export function jsonLogger(level: LogLevel, destination: DestinationStream): Logger {
  return pino({ level, base: { pid: process.pid }, hooks: { streamWrite: withoutSecrets } }, destination);
}

const LEVELS: readonly [number, string][] = [
  [50, "error"],
  [40, "warn"],
  [30, "info"],
  [0, "debug"],
];

/** `12:34:56 warn  what happened  field=value …` of pino's JSON line. */
function humanLine(line: string, style: Style): string {
  // Of one node are all lines of a process.
  const { level, time, msg, err, node: _, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const name = LEVELS.find(([from]) => Number(level) >= from)?.[1] ?? "debug";
  const clock = new Date(Number(time)).toTimeString().slice(0, 8);
  const rest = Object.entries(fields).map(([field, value]) => `${field}=${show(value)}`);
  if (typeof err === "object" && err !== null && "message" in err) rest.push(`err=${show(err.message)}`);
  const tag = name.padEnd(5);
  const coloured = name === "error" ? style.red(tag) : name === "warn" ? style.yellow(tag) : style.dim(tag);
  return `${style.dim(clock)} ${coloured} ${printable(String(msg))}  ${style.dim(printable(rest.join(" ")))}`.trimEnd();
}

function show(value: unknown): string {
  return typeof value === "string" && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}
