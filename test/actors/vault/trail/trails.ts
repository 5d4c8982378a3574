/** Trails in temporary folders, what they said, and their files. */
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createUser } from "@nats-io/nkeys";
import { onTestFinished } from "vitest";
import { readCheckpoint, signCheckpoint } from "../../../../src/actors/vault/trail/checkpoint.ts";
import type { StoredCheckpoint } from "../../../../src/actors/vault/trail/checkpoints.ts";
import type { TrailEntry, TrailRecord } from "../../../../src/actors/vault/trail/entry.ts";
import { Trail, type TrailHead, type TrailOptions } from "../../../../src/actors/vault/trail/trail.ts";
import { Secret } from "../../../../src/bus/sealed/secret.ts";
import { type Signer, signerOf } from "../../../../src/bus/sealed/signing.ts";
import { systemClock } from "../../../../src/protocols/clock.ts";
import type { VgasError } from "../../../../src/protocols/errors.ts";
import { temporaryDirectory } from "../../../support/home.ts";
import { RecordingLogger } from "../../../support/recording-logger.ts";

export const VAULT_ID = "v1";
/** Name of the first segment. */
export const FIRST = "00000001.jsonl";
export const SEED_BYTES = Buffer.alloc(32, 7);
export const seed = (): Secret => new Secret(Buffer.from(SEED_BYTES));
export const signer: Signer = signerOf("system", createUser().getSeed());

export interface Told {
  readonly trail: Trail;
  readonly logger: RecordingLogger;
  /** Records that were replayed, and snapshots that were restored. */
  readonly replayed: TrailRecord[];
  readonly restored: unknown[];
  readonly troubles: VgasError[];
  healthy: number;
}

export async function trailFolder(): Promise<string> {
  return join(await temporaryDirectory(), "trail");
}

export function createTrail(dir: string, options: Partial<TrailOptions> = {}): Promise<Told> {
  return tell(dir, options, (all) => Trail.create({ ...all, seed: seed() }));
}

export function openTrail(dir: string, options: Partial<TrailOptions> = {}): Promise<Told> {
  return tell(dir, options, (all, told) =>
    Trail.open({
      ...all,
      restore: (snapshot) => void told.restored.push(snapshot),
      replay: (record) => void told.replayed.push(record),
    }),
  );
}

async function tell(
  dir: string,
  options: Partial<TrailOptions>,
  begin: (all: TrailOptions, told: Omit<Told, "trail">) => Promise<Trail>,
): Promise<Told> {
  const told = { logger: new RecordingLogger(), replayed: [], restored: [], troubles: [] as VgasError[], healthy: 0 };
  const all: TrailOptions = {
    dir,
    clock: systemClock,
    logger: told.logger,
    snapshot: () => ({}),
    onTrouble: (error) => void told.troubles.push(error),
    onHealthy: () => void told.healthy++,
    ...options,
  };
  const trail = await begin(all, told);
  onTestFinished(() => trail.close());
  return Object.assign(told, { trail });
}

export function entryOf(n: number): TrailEntry {
  return {
    op: "lease",
    outcome: "ok",
    who: { user: "nhostaaaaa", role: "worker", host: "nhostaaaaa" },
    provider: "openai",
    key: "main",
    usage: { leases: 1 },
    detail: { n },
  };
}

/** A file of a trail, as its lines without their ends. */
export interface TrailFile {
  readonly name: string;
  readonly lines: string[];
}

export async function filesOf(dir: string): Promise<TrailFile[]> {
  const names = (await readdir(dir)).filter((name) => name.endsWith(".jsonl")).sort();
  return await Promise.all(
    names.map(async (name) => ({ name, lines: (await readFile(join(dir, name), "utf8")).split("\n").slice(0, -1) })),
  );
}

export async function linesOf(dir: string): Promise<string[]> {
  return (await filesOf(dir)).flatMap(({ lines }) => lines);
}

/** A copy of the folder that a test may spoil. */
export async function copyOf(dir: string): Promise<string> {
  const copy = await trailFolder();
  await cp(dir, copy, { recursive: true });
  return copy;
}

/** Puts that text in the place of a file's. */
export async function rewrite(dir: string, name: string, text: string | Uint8Array): Promise<void> {
  await writeFile(join(dir, name), text, { mode: 0o600 });
}

/** As it is read from the stream when it was sent at that head. */
export function checkpointOf(head: TrailHead, by = signer, sequence = 1): StoredCheckpoint {
  const bytes = signCheckpoint({ vaultId: VAULT_ID, ...head, at: 0 }, by);
  return { sequence, checkpoint: readCheckpoint(bytes, VAULT_ID, signer.publicKey) };
}
