/**
 * The soak: very many tasks on three brokers, four hosts and two dispatchers, while a random fault strikes every few seconds. At
 * the end every promise is checked, and every process holds as little as it did when it was warm.
 *
 *   npm run test:soak [-- --tasks N --minutes N --seed S --report FILE]     default: 1 000 000 tasks in 30 minutes
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { report } from "./report.ts";
import { type Settings, soak } from "./soak.ts";

const LEAST_TASKS = 1_000;
/** For what the run left open; it is over. */
const EXIT_MS = 10_000;

const { settings, path } = asked();
if (settings === undefined) {
  console.error("usage: npm run test:soak [-- --tasks N (1000 at least) --minutes N --seed S --report FILE]");
  process.exitCode = 2;
} else {
  console.error(`seed ${settings.seed}`);
  const outcome = await soak(settings);
  const text = report(outcome);
  writeFileSync(path, text);
  console.log(text);
  console.error(`the table is in ${path}`);
  process.exitCode = outcome.violations.length + outcome.errors.length === 0 ? 0 : 1;
  setTimeout(() => process.exit(), EXIT_MS).unref();
}

function asked(): { readonly settings: Settings | undefined; readonly path: string } {
  const { values } = parseArgs({
    options: {
      tasks: { type: "string", default: "1000000" },
      minutes: { type: "string", default: "30" },
      seed: { type: "string", default: process.env["SEED"] ?? String(Date.now() % 1_000_000_007) },
      report: { type: "string", default: join(process.cwd(), ".cache", "soak.md") },
    },
  });
  const { seed, report: path } = values;
  const [tasks, minutes] = [Number(values.tasks), Number(values.minutes)];
  const good = Number.isInteger(tasks) && tasks >= LEAST_TASKS && minutes > 0 && Number.isFinite(minutes);
  return { settings: good ? { tasks, minutes, seed } : undefined, path };
}
