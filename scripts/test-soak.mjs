/**
 * Set-up, then the soak (test/soak): a million tasks in 30 minutes under random faults. Arguments go to it. In a process of its own,
 * because the history of a million tasks takes more memory than Node takes by itself.
 */
import "./lib/node-version.mjs";
import { join } from "node:path";
import { root } from "./lib/checkout.mjs";
import { endWithNpm } from "./lib/npm-parent.mjs";
import { become } from "./lib/run.mjs";
import { setUp } from "./lib/setup.mjs";

/** MiB. About 5 KiB for each task: its submission, begin, end and result, and what the checker keeps of them. */
const HEAP = 12_288;

endWithNpm();
await setUp();
const jiti = join(root, "node_modules/jiti/lib/jiti-cli.mjs");
const program = join(root, "test/soak/main.ts");
process.exitCode = await become(process.execPath, [
  `--max-old-space-size=${HEAP}`,
  jiti,
  program,
  ...process.argv.slice(2),
]);
