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
    const text = progressText(counts, performance.now() - startedAt);
    if (terminal.animates) terminal.progress(text);
    else terminal.note(`run: ${text.replace(BAR, "")}`);
  };
  const timer = setInterval(draw, terminal.animates ? DRAW_MS : TELL_MS);
  return () => {
    clearInterval(timer);
    terminal.progress(undefined);
  };
}

/** `██████░░░░░░░░░░░░░░  31 %  1 204 ok  3 failed  96 open  512/s`. Pure. */
export function progressText({ read, submitted, ok, failed, refused, open }: RunCounts, elapsedMs: number): string {
  const done = ok + failed;
  const rate = elapsedMs > 0 ? Math.round((1_000 * done) / elapsedMs) : 0;
  const parts = [`${count(ok)} ok`];
  if (failed > 0) parts.push(`${count(failed)} failed`);
  if (refused > 0) parts.push(`${count(refused)} refused`);
  parts.push(`${count(open)} open`, `${count(rate)}/s`);
  // What was read and is not done is worth nothing yet.
  const share = read === undefined ? undefined : submitted === 0 ? 0 : (read * done) / submitted;
  return share === undefined ? parts.join("  ") : `${bar(share)}  ${parts.join("  ")}`;
}

function bar(share: number): string {
  const full = Math.floor(share * BAR_CELLS);
  return `${"█".repeat(full)}${"░".repeat(BAR_CELLS - full)} ${String(Math.floor(share * 100)).padStart(3)} %`;
}
