/** The process of load.ts as its parent sees it. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { JITI } from "../support/jiti.ts";
import type { Counts, Phase, Told } from "./load.ts";

export interface LoadOptions {
  readonly url: string;
  /** Where it writes its history. */
  readonly file: string;
  readonly seed: string;
  readonly environment: Readonly<Record<string, string>>;
}

const PROGRAM = fileURLToPath(new URL("load.ts", import.meta.url));

/** Whether a submission of the history is of this load. */
export function isOfLoad(call: string): boolean {
  return call.startsWith("load-");
}

export class LoadClient {
  readonly #child: ChildProcess;
  readonly #listeners = new Set<(told: Told) => void>();
  #counts: Counts = { submissions: 0, accepted: 0, results: 0, statuses: {} };

  private constructor({ url, file, seed, environment }: LoadOptions) {
    this.#child = fork(PROGRAM, [url, file, seed], {
      execArgv: [JITI],
      env: { ...process.env, ...environment },
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    this.#child.on("message", (told: Told) => {
      if (told.type === "progress" || told.type === "done") this.#counts = told;
      for (const listener of [...this.#listeners]) listener(told);
    });
    this.#child.once("exit", (code, signal) => {
      for (const listener of [...this.#listeners]) listener({ type: "failed", why: `it ended with ${code ?? signal}` });
    });
    process.once("exit", () => this.#child.kill("SIGKILL"));
  }

  static async start(options: LoadOptions): Promise<LoadClient> {
    const client = new LoadClient(options);
    await client.#heard("ready");
    return client;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get counts(): Counts {
    return this.#counts;
  }

  /** Resolves with the last result of the phase. @throws if it was told what it must not be told */
  async run(phase: Phase): Promise<void> {
    const done = this.#heard("done");
    this.#child.send(phase);
    await done;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  #heard(type: Told["type"]): Promise<void> {
    return new Promise((resolve, reject) => {
      const listen = (told: Told): void => {
        if (told.type !== type && told.type !== "failed") return;
        this.#listeners.delete(listen);
        if (told.type === "failed") reject(new Error(`the load failed: ${told.why}`));
        else resolve();
      };
      this.#listeners.add(listen);
    });
  }
}
