/** `npm run bench`: every benchmark, or the one that is named. Figures go to stdout, progress to stderr. */
import { cpus, totalmem } from "node:os";
import { printRecovery, recovery } from "./recovery.ts";
import { printThroughput, throughput } from "./throughput.ts";

const BENCHMARKS: Readonly<Record<string, (log: (line: string) => void) => Promise<string>>> = {
  recovery: async (log) => printRecovery(await recovery(log)),
  throughput: async (log) => printThroughput(await throughput(log)),
};

const name = process.argv[2];
if (name !== undefined && !(name in BENCHMARKS)) {
  console.error(`bench: there is no benchmark "${name}"; there is ${Object.keys(BENCHMARKS).join(", ")}`);
  process.exit(2);
}
const log = (line: string): void => console.error(line);
log(
  `${cpus().length} x ${cpus()[0]?.model ?? "unknown processor"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
);
for (const [each, run] of Object.entries(BENCHMARKS)) {
  if (name === undefined || name === each) console.log(await run(log));
}
process.exit(0);
