import type { Interrupt } from "./interrupt.ts";
import type { Terminal } from "./terminal.ts";

/** What every command gets. A command throws to fail; it sets `exitCode` where it ends without being ok. */
export interface Cli {
  readonly terminal: Terminal;
  readonly interrupt: Interrupt;
  readonly env: Readonly<Record<string, string | undefined>>;
  exitCode: number;
}
