/** Set-up, then the main job: the dependency audit on a swarm of its own. `npm start -- --keep` leaves the swarm running. */
import "./lib/node-version.mjs";
import { endWithNpm } from "./lib/npm-parent.mjs";
import { setUp } from "./lib/setup.mjs";
import { runTypeScript } from "./lib/typescript-job.mjs";

endWithNpm();
await setUp();
await runTypeScript("examples/audit/main.ts", process.argv.slice(2));
