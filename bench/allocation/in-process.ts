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
  args(program: string): readonly string[];
}

const source = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const COMPILERS: readonly Compiler[] = [
  { language: "Rust", command: "rustc", args: (program) => ["-O", "-o", program, source("in-process.rs")] },
  { language: "C", command: "cc", args: (program) => ["-O2", "-pthread", "-o", program, source("in-process.c")] },
];

export class InProcess {
  readonly language: string;
  readonly #dir: string;

  private constructor(language: string, dir: string) {
    this.language = language;
    this.#dir = dir;
  }

  /** Undefined where no compiler compiles it. */
  static async compile(): Promise<InProcess | undefined> {
    const dir = mkdtempSync(join(tmpdir(), "vgas-bench-compiled-"));
    for (const { language, command, args } of COMPILERS) {
      const compiled = await run(command, args(join(dir, "rotation"))).then(
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
