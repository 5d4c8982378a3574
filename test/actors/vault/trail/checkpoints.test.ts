import { describe, expect, test } from "vitest";
import { Checkpoints, type CheckpointsOptions } from "../../../../src/actors/vault/trail/checkpoints.ts";
import { verifyTrail } from "../../../../src/actors/vault/trail/verify.ts";
import { Publisher } from "../../../../src/bus/publisher.ts";
import { ensureTopology } from "../../../../src/bus/topology.ts";
import { VgasError } from "../../../../src/protocols/errors.ts";
import { TOPOLOGY_DEFAULTS } from "../../../../src/protocols/streams.ts";
import { Names } from "../../../../src/protocols/subjects.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { useNats } from "../../../support/nats.ts";
import { RecordingLogger } from "../../../support/recording-logger.ts";
import { until } from "../../../support/wait.ts";
import { createTrail, entryOf, filesOf, rewrite, seed, signer, trailFolder, VAULT_ID } from "./trails.ts";

const nats = useNats();

/** Checkpoints on a swarm of their own, with what was published. */
async function open(prefix: string, options: Partial<CheckpointsOptions> = {}) {
  const bus = await nats.bus();
  const names = new Names(prefix);
  await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
  const publisher = new Publisher(bus);
  const clock = new ManualClock();
  const logger = new RecordingLogger();
  const stored: string[] = [];
  let failure: VgasError | undefined;
  const watched: Pick<Publisher, "publish"> = {
    publish: async (subject, data, how) => {
      if (failure !== undefined) throw failure;
      const ack = await publisher.publish(subject, data, how);
      stored.push(JSON.parse(Buffer.from(data).toString()).mac);
      return ack;
    },
  };
  const all = { bus, publisher: watched, names, signer, clock, logger, vaultId: () => VAULT_ID, ...options };
  const fail = (error: VgasError | undefined): void => {
    failure = error;
  };
  return { checkpoints: new Checkpoints(all), clock, logger, stored, publisher, names, bus, fail };
}

const head = (seq: number) => ({ seq, mac: `mac-${seq}` });

describe("checkpoints", () => {
  test("are sent when the trail has moved, the newest only, once a second at most", async () => {
    const { checkpoints, clock, stored } = await open("rate");
    for (let seq = 1; seq <= 5; seq++) checkpoints.moved(head(seq));
    await clock.advance(0);
    await until(() => stored.length === 1);
    for (let seq = 6; seq <= 9; seq++) checkpoints.moved(head(seq));
    await clock.advance(999);
    expect(stored).toEqual(["mac-5"]);
    await clock.advance(1);
    await until(() => stored.length === 2);
    await clock.advance(5_000);
    expect(stored).toEqual(["mac-5", "mac-9"]);
    expect(clock.armed).toBe(0);
    await checkpoints.close();
  });

  test("are read back with their signatures checked; what is no checkpoint of this vault is told", async () => {
    const { checkpoints, publisher, names } = await open("read");
    checkpoints.moved(head(1));
    await checkpoints.flush();
    checkpoints.moved(head(2));
    await checkpoints.close();
    const [first] = await checkpoints.read();
    const forged = JSON.stringify({
      v: 1,
      vaultId: VAULT_ID,
      seq: 3,
      mac: "m",
      at: 0,
      signer: signer.publicKey,
      signature: "AA",
    });
    for (const bytes of [Buffer.from(forged), Buffer.from([0xc1, 0xff]), Buffer.from("{}")])
      await publisher.publish(names.audit(VAULT_ID), bytes);
    await publisher.publish(names.audit("another"), Buffer.from("{}"));
    expect(await checkpoints.read()).toEqual([
      first,
      { sequence: 2, checkpoint: expect.objectContaining({ ...head(2), vaultId: VAULT_ID, signer: signer.publicKey }) },
      { sequence: 3, checkpoint: { problem: "has a wrong signature" } },
      { sequence: 4, checkpoint: { problem: "is no checkpoint" } },
      { sequence: 5, checkpoint: { problem: "is no checkpoint" } },
    ]);
  });

  test("are sent again when the stream takes them again, and the failure is logged once", async () => {
    const { checkpoints, clock, stored, logger, fail } = await open("again");
    fail(new VgasError("STREAM_FULL", "full"));
    checkpoints.moved(head(1));
    for (let second = 0; second < 3; second++) {
      await clock.advance(1_000);
      await until(() => clock.armed === 1);
    }
    expect(logger.lines.map(({ level }) => level)).toEqual(["warn"]);
    checkpoints.moved(head(2));
    fail(undefined);
    await clock.advance(1_000);
    await until(() => stored.length === 1);
    expect(stored).toEqual(["mac-2"]);
    await checkpoints.close();
  });

  test("hold nobody up for long when nothing answers", async () => {
    const never: Pick<Publisher, "publish"> = {
      publish: (_subject, _data, how) =>
        new Promise((_, reject) => {
          how?.signal?.addEventListener("abort", () => reject(new VgasError("ABORTED", "aborted")));
        }),
    };
    const { checkpoints, clock } = await open("never", { publisher: never });
    checkpoints.moved(head(1));
    let closed = false;
    const closing = checkpoints.close().then(() => {
      closed = true;
    });
    await clock.advance(1_999);
    expect(closed).toBe(false);
    await clock.advance(1);
    await closing;
    checkpoints.moved(head(2));
    expect(clock.armed).toBe(0);
  });

  test("send nothing before there is a vault or a record", async () => {
    let vaultId: string | undefined;
    const { checkpoints, clock, stored } = await open("none", { vaultId: () => vaultId });
    checkpoints.moved(head(1));
    await checkpoints.flush();
    vaultId = VAULT_ID;
    checkpoints.moved({ seq: 0, mac: "" });
    await checkpoints.flush();
    expect(stored).toEqual([]);
    checkpoints.moved(head(1));
    await checkpoints.flush();
    expect(stored).toEqual(["mac-1"]);
    await clock.advance(10_000);
    await checkpoints.close();
  });

  test("of a real trail hold what it was against what it became", async () => {
    const { checkpoints } = await open("real");
    const { trail } = await createTrail(await trailFolder());
    for (let n = 0; n < 5; n++) {
      await trail.append(entryOf(n));
      checkpoints.moved(trail.head);
      await checkpoints.flush();
    }
    const verify = async () => verifyTrail({ trail, seed: seed(), checkpoints: await checkpoints.read() });
    expect(await verify()).toEqual({ ok: true, records: 6, checkpoints: 5 });
    const [file] = await filesOf(trail.dir);
    if (file === undefined) throw new Error("no file");
    await rewrite(
      trail.dir,
      file.name,
      file.lines
        .slice(0, 4)
        .map((line) => `${line}\n`)
        .join(""),
    );
    const offline = await verifyTrail({
      trail: { dir: trail.dir },
      seed: seed(),
      checkpoints: await checkpoints.read(),
    });
    expect(offline).toMatchObject({ ok: false, at: 5, records: 4, checkpoints: 3 });
    await checkpoints.close();
  });
});
