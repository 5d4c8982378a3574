import { writeFile } from "node:fs/promises";
import process from "node:process";

/** Bits say what a core dump holds; with none of them it holds no memory at all. */
const FILTER = "/proc/self/coredump_filter";

/**
 * Keeps this process's memory out of core dumps, where the system lets an ordinary process say so: on Linux, and for the
 * children that it starts from then on.
 *
 * @returns whether it does
 */
export async function keepMemoryOutOfCoreDumps(): Promise<boolean> {
  if (process.platform !== "linux") return false;
  return await writeFile(FILTER, "0").then(
    () => true,
    () => false,
  );
}
