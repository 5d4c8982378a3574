/** The in-process form of the rotation: compiled here, by whichever compiler there is. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Quantiles, quantilesOf } from "./samples.ts";

const run = promisify(execFile);

interface Compiler {
  readonly language: string;
  readonly command: string;
  /** For a program as fast as it can be made. */
  readonly best: string;
  /** For any program, as soon as possible. */
  readonly soonest: string;
  readonly args: readonly string[];
}

const source = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const COMPILERS: readonly Compiler[] = [
  { language: "Rust", command: "rustc", best: "-O", soonest: "-Copt-level=0", args: [source("in-process.rs")] },
  { language: "C", command: "cc", best: "-O2", soonest: "-O0", args: ["-pthread", source("in-process.c")] },
];

export class InProcess {
  readonly language: string;
  readonly #dir: string;

  private constructor(language: string, dir: string) {
    this.language = language;
    this.#dir = dir;
  }

  /** Undefined where no compiler compiles it. `quick`: by the one that takes least time, and not made fast. */
  static async compile(quick: boolean): Promise<InProcess | undefined> {
    const dir = mkdtempSync(join(tmpdir(), "vgas-bench-compiled-"));
    for (const { language, command, best, soonest, args } of quick ? COMPILERS.toReversed() : COMPILERS) {
      const compiled = await run(command, [quick ? soonest : best, "-o", join(dir, "rotation"), ...args]).then(
        () => true,
        () => false,
      );
      if (compiled) return new InProcess(language, dir);
    }
    rmSync(dir, { recursive: true, force: true });
    return undefined;
  }

  /** Nanoseconds of one task, where `batch` are picked one after the other. */
  async measure(agents: number, batch: number, samples: number): Promise<Quantiles> {
    const { stdout } = await run(join(this.#dir, "rotation"), [agents, batch, samples].map(String));
    return quantilesOf(stdout.trim().split("\n").map(Number));
  }

  remove(): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
