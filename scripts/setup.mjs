/**
 * Brings everything that vgas needs: dependencies, a nats-server, the build. Run again, it only looks.
 *
 *   node scripts/setup.mjs [dependencies] [broker] [build]      default: all of them
 */
import "./lib/node-version.mjs";
import { setUp } from "./lib/setup.mjs";

await setUp(process.argv.slice(2));
