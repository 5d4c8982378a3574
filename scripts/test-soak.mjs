/** Set-up, then ten minutes of load with the broker killed twice (test/soak). `npm run test:soak -- SECONDS` for another time. */
import "./lib/node-version.mjs";
import { endWithNpm } from "./lib/npm-parent.mjs";
import { setUp } from "./lib/setup.mjs";
import { runTypeScript } from "./lib/typescript-job.mjs";

endWithNpm();
await setUp();
await runTypeScript("test/soak/main.ts", process.argv.slice(2));
