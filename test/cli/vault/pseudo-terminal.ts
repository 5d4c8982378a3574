/** Runs bin/vgas on a terminal of its own, by util-linux's or BSD's `script`, and types into it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { onTestFinished } from "vitest";
import { BIN } from "../support.ts";

export interface OnTerminal {
  /** Everything the terminal has shown, its echo included. */
  shown(): string;
  /** Resolves when the terminal has shown `text` again since it was last waited for. */
  sees(text: string): Promise<void>;
  type(keys: string): void;
  /** Of the command itself. */
  pid(): number;
  /** Exit code of the command, and the terminal's settings (`stty -a`) after it. */
  readonly end: Promise<{ readonly code: number; readonly settings: string }>;
}

/** It gives a command a terminal; of util-linux and of BSD. */
const SCRIPT = "script";
const DONE = /\[ended (\d+)\]([\s\S]*)\[settings\]/;

export function onTerminal(args: readonly string[], env: Readonly<Record<string, string>> = {}): OnTerminal {
  const command = [process.execPath, BIN, ...args].map(quoted).join(" ");
  // The shell in between lives on, also after Ctrl-C, to tell how the command ended and left the terminal.
  const shell = `trap : INT; sh -c ${quoted(`echo "[pid $$]"; exec ${command}`)}; echo "[ended $?]"; stty -a; echo "[settings]"`;
  const flags =
    process.platform === "darwin" ? ["-q", "/dev/null", "sh", "-c", shell] : ["-q", "-c", shell, "/dev/null"];
  const child = spawn(SCRIPT, flags, {
    stdio: ["pipe", "pipe", "inherit"],
    env: { PATH: process.env["PATH"] ?? "", HOME: "/nonexistent", SHELL: "/bin/sh", TERM: "xterm", ...env },
  });
  const failed = new Promise<never>((_, reject) => {
    child.once("error", (cause) => reject(new Error("these tests need the command script (bsdutils)", { cause })));
  });
  const closed = once(child, "close");
  let over = false;
  let shown = "";
  let waitedFor = 0;
  const listeners = new Set<() => void>();
  const tell = (): void => {
    for (const listener of [...listeners]) listener();
  };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    shown += text;
    tell();
  });
  const close = (): void => {
    over = true;
    tell();
  };
  void closed.then(close, close);
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await closed.catch(() => undefined);
  });
  const until = async <T>(look: () => T | undefined, what: string): Promise<T> => {
    const seen = new Promise<T>((resolve, reject) => {
      const listener = (): void => {
        const value = look();
        if (value !== undefined) resolve(value);
        else if (over) reject(new Error(`the terminal ended without ${what}:\n${shown}`));
        else return;
        listeners.delete(listener);
      };
      listeners.add(listener);
      listener();
    });
    return await Promise.race([seen, failed]);
  };
  return {
    shown: () => shown,
    sees: (text) =>
      until(() => {
        const at = shown.indexOf(text, waitedFor);
        if (at < 0) return undefined;
        waitedFor = at + text.length;
        return text;
      }, text).then(() => undefined),
    type: (keys) => void child.stdin.write(keys),
    pid: () => Number(/\[pid (\d+)\]/.exec(shown)?.[1]),
    end: until(() => {
      const [, code, settings] = DONE.exec(shown) ?? [];
      return code === undefined ? undefined : { code: Number(code), settings: settings ?? "" };
    }, "the end of the command"),
  };
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
