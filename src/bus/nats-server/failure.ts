import { open, stat } from "node:fs/promises";
import { VgasError } from "../../protocols/errors.ts";
import type { HomeLayout } from "../home/layout.ts";
import { portInUse } from "./port.ts";

const TAIL_BYTES = 16_384;
const TAIL_LINES = 6;

/** One run of a broker: `logFrom` is the size of its log, in bytes, when it was started. */
export interface BrokerRun {
  readonly host: string;
  readonly port: number;
  readonly logFrom: number;
}

export async function logSize(layout: HomeLayout): Promise<number> {
  return (await stat(layout.nats.log).catch(() => undefined))?.size ?? 0;
}

/** Why a broker ended, as its standard error and its log tell it. A port that is taken is an error of its own. */
export async function brokerFailure(layout: HomeLayout, how: string, run: BrokerRun): Promise<VgasError> {
  const lines = [...(await tail(layout.nats.stderr, 0)), ...(await tail(layout.nats.log, run.logFrom))];
  const telling = lines.filter((line) => /\[(FTL|ERR)\]|^nats-server:|^panic|^fatal/.test(line));
  const shown = (telling.length > 0 ? telling : lines).slice(-TAIL_LINES).join(" | ");
  if (/address already in use/.test(shown)) return portInUse(run.host, run.port);
  const said = shown === "" ? "it said nothing" : shown;
  return new VgasError("BROKER_FAILED", `the nats-server ended (${how}): ${said}. Its log is ${layout.nats.log}`);
}

/** Last lines of what was written behind `from`; of the whole file if it has been rotated since. */
async function tail(path: string, from: number): Promise<readonly string[]> {
  const file = await open(path, "r").catch(() => undefined);
  if (file === undefined) return [];
  try {
    const { size } = await file.stat();
    const start = Math.max(from > size ? 0 : from, size - TAIL_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(TAIL_BYTES), 0, TAIL_BYTES, start);
    return buffer.toString("utf8", 0, bytesRead).split("\n").filter(Boolean);
  } catch {
    return [];
  } finally {
    await file.close();
  }
}
