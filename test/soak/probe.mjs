/**
 * Loaded before a process that the soak watches (`--import`): at SIGUSR2 the process collects its garbage and writes what it holds
 * then to `<pid>.json` in VGAS_SOAK_PROBES, as a `Held` of probes.ts. Plain JavaScript, because nothing is there yet that could
 * read anything else. It runs in each thread: those besides the main one tell it what they hold.
 */
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { BroadcastChannel, isMainThread, threadId } from "node:worker_threads";

/** For a thread to answer: its loop turns once a second at least. One that cannot is left out. */
const THREADS_MS = 3_000;

const dir = process.env["VGAS_SOAK_PROBES"];
if (dir) {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc");
  const channel = new BroadcastChannel("soak");
  channel.unref();
  const held = () => {
    // Twice: what finalizers let go of at the first is only gone after the second.
    gc();
    gc();
    const { heapUsed, external } = process.memoryUsage();
    return { heapUsed, external };
  };
  if (isMainThread) {
    let asked = 0;
    process.on("SIGUSR2", () => {
      asked++;
      const round = asked;
      /** @type {ReturnType<typeof held>[]} */
      const threads = [];
      channel.onmessage = ({ data }) => {
        if (data.round === round && data.held) threads.push(data.held);
      };
      channel.ref();
      channel.postMessage({ round });
      setTimeout(() => {
        channel.unref();
        /** @type {Record<string, number>} */
        const resources = {};
        for (const name of process.getActiveResourcesInfo()) resources[name] = (resources[name] ?? 0) + 1;
        const path = join(dir, `${process.pid}.json`);
        writeFileSync(`${path}.new`, JSON.stringify({ round, ...held(), threads, resources }));
        renameSync(`${path}.new`, path);
      }, THREADS_MS);
    });
  } else {
    channel.onmessage = ({ data }) => {
      if (data.held === undefined) channel.postMessage({ round: data.round, held: { threadId, ...held() } });
    };
  }
}
