/** Set-up, then the benchmark. */
import "./lib/node-version.mjs";
import { endWithNpm } from "./lib/npm-parent.mjs";
import { setUp } from "./lib/setup.mjs";
import { runTypeScript } from "./lib/typescript-job.mjs";

endWithNpm();
await setUp();
await runTypeScript("bench/main.ts", process.argv.slice(2));
