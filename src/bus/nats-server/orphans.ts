/**
 * The brokers that a killed predecessor left on a home. Two nats-servers on one store both acknowledge the same sequence,
 * so before a broker is started every other one of this home has been adopted or has ended.
 *
 * They are found in the process table, by the exact command line with the home's configuration: that needs no
 * record, so it also finds one whose starter was killed before it could write anything.
 */
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { HomeLayout } from "../home/layout.ts";
import { identify, type ProcessIdentity, processesWithArguments } from "../home/process-identity.ts";
import { type BrokerAddress, type BrokerRecord, readBrokerRecord } from "./broker-record.ts";
import { probe } from "./probe.ts";
import { adoptBroker, type BrokerProcess, brokerArguments, stopBroker } from "./process.ts";

export interface Wanted {
  readonly layout: HomeLayout;
  /** Digest of the configuration that a broker must run with to be adopted. */
  readonly configuration: string;
  /** 0: any port will do. */
  readonly port: number;
  /** How it proves itself; nothing for one without TLS. */
  readonly identity: Omit<BrokerAddress, "url">;
  /** Seed of the node's own user. */
  readonly seed: Uint8Array;
  readonly stopGraceMs: number;
}

export interface Adopted {
  readonly process: BrokerProcess;
  readonly record: BrokerRecord;
}

/** Adopts the one broker that runs exactly as a new one would and answers to our credential; ends all others. */
export async function adoptOrStop(wanted: Wanted, clock: Clock, logger: Logger): Promise<Adopted | undefined> {
  let adopted: Adopted | undefined;
  const record = await readBrokerRecord(wanted.layout);
  for (const orphan of await brokersOf(wanted.layout)) {
    const { pid } = orphan;
    const unfit = adopted !== undefined ? "another one is adopted" : await reasonAgainst(orphan, record, wanted);
    if (unfit === undefined && record !== undefined) {
      adopted = { process: adoptBroker(orphan, clock), record };
      logger.warn({ pid, port: record.port }, "adopted the nats-server that a killed node left on this home");
    } else {
      logger.warn({ pid, reason: unfit }, "stopping the nats-server that a killed node left on this home");
      await stopBroker(adoptBroker(orphan, clock), wanted.stopGraceMs, clock);
    }
  }
  return adopted;
}

/** Every running broker of the home. */
export async function brokersOf(layout: HomeLayout): Promise<readonly ProcessIdentity[]> {
  const found: ProcessIdentity[] = [];
  for (const pid of await processesWithArguments(brokerArguments(layout.nats.config))) {
    const identity = await identify(pid);
    if (identity !== undefined) found.push(identity);
  }
  return found;
}

async function reasonAgainst(
  orphan: ProcessIdentity,
  record: BrokerRecord | undefined,
  wanted: Wanted,
): Promise<string | undefined> {
  if (record === undefined || record.process.pid !== orphan.pid || record.process.started !== orphan.started) {
    return "nothing is recorded of it";
  }
  if (!record.ready) return "it had not finished its start";
  if (record.configuration !== wanted.configuration) return "its configuration or version is another";
  if (wanted.port !== 0 && wanted.port !== record.port) return `it listens on port ${record.port}`;
  const { answer } = await probe({ url: record.url, ...wanted.identity }, wanted.seed);
  return answer === "accepted" ? undefined : `it answers "${answer}" to this node's credential`;
}

/** @throws VgasError INTERNAL if any broker but `own` runs on the home */
export async function requireNoOther(layout: HomeLayout, own?: ProcessIdentity): Promise<void> {
  const other = (await brokersOf(layout)).find(({ pid }) => pid !== own?.pid);
  if (other !== undefined) throw new VgasError("INTERNAL", `process ${other.pid} is a second broker on ${layout.dir}`);
}
