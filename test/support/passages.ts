/** Reads what failpoints counted (src/failpoints). */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FAILPOINTS, type Failpoint } from "../../src/failpoints/failpoints.ts";

/** How often the place was passed by all processes that had `dir`, threads included. */
export function passages(dir: string, name: Failpoint): number {
  if (!existsSync(dir)) return 0;
  const at = FAILPOINTS.indexOf(name) * Uint32Array.BYTES_PER_ELEMENT;
  return readdirSync(dir).reduce((sum, file) => {
    const counts = readFileSync(join(dir, file));
    return counts.length > at ? sum + counts.readUInt32LE(at) : sum;
  }, 0);
}
