/**
 * Sends files through three kinds of agents, and says what became of them.
 *
 *   bin/vgas up --module examples/pipeline/agents.ts                  # in another terminal
 *   npx jiti examples/pipeline/main.ts FOLDER [COUNT]
 *
 * FOLDER gets COUNT files (default 5 000) in `files`, and the cards of the filed ones in `shelves`. A class without a shelf there is
 * a failure for good: its tasks are dead letters until somebody puts the shelf up and replays them.
 */
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Client, connect, type TaskBatch, type TaskResult } from "vgas";
import type { Classified, Words } from "./agents.ts";
import { makeFiles } from "./files.ts";
import "./tracing.ts";

/** Tasks of the next kind are submitted so many at a time, as the results of the one before come. */
const CHUNK = 250;
/** Shelves that are there from the start; one for letters is not. */
const SHELVES = ["invoice", "note", "other"];

const [folder, count = "5000"] = process.argv.slice(2);
if (folder === undefined || !/^[1-9]\d{0,5}$/.test(count)) {
  console.error("usage: main.ts FOLDER [COUNT]");
  process.exit(2);
}
const shelves = resolve(folder, "shelves");
const paths = await makeFiles(resolve(folder, "files"), Number(count));
for (const shelf of SHELVES) await mkdir(join(shelves, shelf), { recursive: true });

const client = await connect();
const failures = new Map<string, number>();
const read = await client.submitMany<Words>("read", paths);
console.error(`read: batch ${read.id}; \`vgas batch ${read.id} --follow\` shows how far it is`);
const classified = throughNext<Words, Classified>(client, outputsOf(read), "classify", {});
const shelved = throughNext<Classified, string>(client, classified, "shelve", { context: shelves });
let cards = 0;
for await (const _ of shelved) cards++;
await client.close();

console.log(`${cards} of ${paths.length} files are on their shelves`);
for (const [what, times] of [...failures].sort()) console.log(`${times} ${what}`);
if (failures.size > 0) console.log("`vgas dead list` shows them; `vgas dead replay --all` tries them again");
process.exitCode = failures.size === 0 ? 0 : 3;

/** The outputs of a batch as they come; failures are counted. */
async function* outputsOf<Output>(batch: TaskBatch<Output>): AsyncGenerator<Output> {
  for await (const result of batch.results()) {
    if (result.status === "ok") yield result.output as Output;
    else countFailure(result);
  }
}

/** Submits a task of `kind` for each input, a chunk at a time, and passes on what comes out. */
async function* throughNext<Input, Output>(
  to: Client,
  inputs: AsyncIterable<Input>,
  kind: string,
  options: { readonly context?: unknown },
): AsyncGenerator<Output> {
  let chunk: Input[] = [];
  const submitted: Promise<TaskBatch<Output>>[] = [];
  for await (const input of inputs) {
    chunk.push(input);
    if (chunk.length < CHUNK) continue;
    submitted.push(to.submitMany<Output, Input>(kind, chunk, options));
    chunk = [];
  }
  if (chunk.length > 0) submitted.push(to.submitMany<Output, Input>(kind, chunk, options));
  for (const batch of submitted) yield* outputsOf(await batch);
}

function countFailure({ kind, status, error }: TaskResult): void {
  const what = `${kind} ${status}: ${error?.code ?? "no error"}`;
  failures.set(what, (failures.get(what) ?? 0) + 1);
}
