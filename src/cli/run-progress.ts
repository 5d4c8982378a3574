/** Shows how far a run has come: a bar on a terminal, a line now and then elsewhere. */
import { count } from "./table.ts";
import type { RunCounts } from "./task-run.ts";
import type { Terminal } from "./terminal.ts";

const DRAW_MS = 100;
const TELL_MS = 10_000;
const BAR_CELLS = 20;
const BAR = /^[█░]+ +/;

/** Begins to show `counts`, which change meanwhile; returns how to stop that. */
export function showProgress(terminal: Terminal, counts: RunCounts): () => void {
  const startedAt = performance.now();
  const draw = (): void => {
    const elapsedMs = performance.now() - startedAt;
    if (terminal.animates) terminal.progress(progressText(counts, elapsedMs, terminal.errColumns - 1));
    else terminal.note(`run: ${progressText(counts, elapsedMs).replace(BAR, "")}`);
  };
  const timer = setInterval(draw, terminal.animates ? DRAW_MS : TELL_MS);
  return () => {
    clearInterval(timer);
    terminal.progress(undefined);
  };
}

/**
 * `██████░░░░░░░░░░░░░░  31 %  1 204 ok  3 failed  96 open  512/s`; what does not fit `width` is left out, the bar first: half a
 * number would be a wrong one. Pure.
 */
export function progressText(
  { read, submitted, ok, failed, refused, open }: RunCounts,
  elapsedMs: number,
  width = Number.POSITIVE_INFINITY,
): string {
  const done = ok + failed;
  const rate = elapsedMs > 0 ? Math.round((1_000 * done) / elapsedMs) : 0;
  const parts = [`${count(ok)} ok`];
  if (failed > 0) parts.push(`${count(failed)} failed`);
  if (refused > 0) parts.push(`${count(refused)} refused`);
  parts.push(`${count(open)} open`, `${count(rate)}/s`);
  // What was read and is not done is worth nothing yet.
  const share = read === undefined ? undefined : submitted === 0 ? 0 : (read * done) / submitted;
  if (share !== undefined) {
    const whole = `${bar(share)}  ${parts.join("  ")}`;
    if (whole.length <= width) return whole;
    parts.unshift(`${Math.floor(share * 100)} %`);
  }
  while (parts.length > 1 && parts.join("  ").length > width) parts.pop();
  return parts.join("  ");
}

function bar(share: number): string {
  const full = Math.floor(share * BAR_CELLS);
  return `${"█".repeat(full)}${"░".repeat(BAR_CELLS - full)} ${String(Math.floor(share * 100)).padStart(3)} %`;
}
