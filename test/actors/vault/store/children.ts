/** Real processes on a vault. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { onTestFinished } from "vitest";
import { kill } from "../../../support/home.ts";
import { programCommand } from "../../../support/programs.ts";

export function startFixture(name: "killed-writer" | "rival", ...args: readonly string[]): ChildProcess {
  const [file, ...rest] = programCommand(name, ...args);
  const child = spawn(file, rest, { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => kill(child));
  return child;
}

/** How a child ended, and what it printed. */
export async function ended(
  child: ChildProcess,
): Promise<{ signal: NodeJS.Signals | null; code: number | null; said: string }> {
  let said = "";
  child.stdout?.on("data", (data: Buffer) => {
    said += data.toString();
  });
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return { signal, code, said: said.trim() };
}
