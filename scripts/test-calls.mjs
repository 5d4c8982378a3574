/** Set-up, then ten minutes of all calls of the library with the broker killed twice (test/soak/calls). An argument: another time, in seconds. */
import "./lib/node-version.mjs";
import { endWithNpm } from "./lib/npm-parent.mjs";
import { setUp } from "./lib/setup.mjs";
import { runTypeScript } from "./lib/typescript-job.mjs";

endWithNpm();
await setUp();
await runTypeScript("test/soak/calls/main.ts", process.argv.slice(2));
