/** Set-up, then the soak: whether memory stays flat. */
import "./lib/node-version.mjs";
import { endWithNpm } from "./lib/npm-parent.mjs";
import { setUp } from "./lib/setup.mjs";
import { runTypeScript } from "./lib/typescript-job.mjs";

endWithNpm();
await setUp();
await runTypeScript("bench/scale-soak.ts", process.argv.slice(2));
