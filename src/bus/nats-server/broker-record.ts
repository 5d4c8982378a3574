/** Which process is the broker of a home and where it listens: how other commands find it, and a successor knows it again. */
import { unlink } from "node:fs/promises";
import { z } from "zod";
import { readIfPresent, writeWhole } from "../home/files.ts";
import type { HomeLayout } from "../home/layout.ts";
import { liveness, processIdentity } from "../home/process-identity.ts";

/** How processes of this machine reach a broker. */
export interface BrokerAddress {
  readonly url: string;
  /** PEM file of the authority that its certificate is of; undefined for a broker without TLS. */
  readonly caFile?: string | undefined;
  /** Name that its certificate holds. */
  readonly serverName?: string | undefined;
}

const brokerRecord = z.object({
  v: z.literal(1),
  process: processIdentity,
  port: z.number().int().min(1).max(65_535),
  /** `BrokerAddress`; a record of before TLS has the first only. */
  url: z.string(),
  caFile: z.string().optional(),
  serverName: z.string().optional(),
  version: z.string(),
  /** Digest of its configuration without the port. */
  configuration: z.string(),
  store: z.string(),
  /** False until it has answered once. */
  ready: z.boolean(),
});
export type BrokerRecord = z.infer<typeof brokerRecord>;

export async function readBrokerRecord(layout: HomeLayout): Promise<BrokerRecord | undefined> {
  const text = await readIfPresent(layout.nats.record);
  if (text === undefined) return undefined;
  try {
    return brokerRecord.parse(JSON.parse(text));
  } catch {
    // Of another version, or damaged: the process table still tells whether a broker runs.
    return undefined;
  }
}

export async function writeBrokerRecord(layout: HomeLayout, record: BrokerRecord): Promise<void> {
  await writeWhole(layout.nats.record, `${JSON.stringify(record)}\n`);
}

export async function removeBrokerRecord(layout: HomeLayout): Promise<void> {
  await unlink(layout.nats.record).catch(() => undefined);
}

/** The record of the home's broker if that process runs now. */
export async function liveBroker(layout: HomeLayout): Promise<BrokerRecord | undefined> {
  const record = await readBrokerRecord(layout);
  return record !== undefined && (await liveness(record.process)) === "alive" ? record : undefined;
}
