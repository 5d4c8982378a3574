/** P9: any bytes on any subject. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decode, encode } from "../../src/bus/codec/codec.ts";
import { MAX_TASK_BYTES } from "../../src/protocols/limits.ts";
import type { DeadLetter } from "../../src/protocols/result.ts";
import { TestSwarm } from "../support/swarm.ts";
import { eventually } from "../support/wait.ts";

const MIB = 2 ** 20;

/** Resident memory of a process that it cannot give back, bytes. */
function residentBytes(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/status`, "utf8").match(/VmRSS:\s+(\d+)/)?.[1]) * 1_024;
}

function bytes(...values: readonly number[]): Uint8Array {
  return Uint8Array.from(values);
}

/** Hostile and broken messages; none of them is a task. */
function garbage(): Uint8Array[] {
  const good = encode({
    id: "x",
    input: { text: "hello", list: [1, 2.5, -3, true, null] },
    timeoutMs: 1_000,
    maxAttempts: 2,
  });
  const truncated = Array.from({ length: good.length - 1 }, (_, i) => good.subarray(0, i + 1));
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);
  return [
    ...truncated,
    bytes(0xdd, 0xff, 0xff, 0xff, 0xff),
    bytes(0xdf, 0xff, 0xff, 0xff, 0xff, 0xa1, 0x61),
    bytes(0xc6, 0xff, 0xff, 0xff, 0xff, 1),
    bytes(0xdb, 0x7f, 0xff, 0xff, 0xff, 0x41),
    bytes(0xc1),
    bytes(0xc7, 0x01, 0x72, 0x00),
    bytes(0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 0x01),
    new Uint8Array(10_000).fill(0x91),
    Uint8Array.from([0x81, 0xa5, ...text("input"), ...new Array<number>(10_000).fill(0x91), 0xc0]),
    text(`${"[".repeat(10_000)}${"]".repeat(10_000)}`),
    text(`{"input":${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}}`),
    text("{"),
    text('{"input":'),
    text('{"id":5}'),
    text('{"id":"a.b"}'),
    text('{"id":"s5"}'),
    text('{"timeoutMs":0}'),
    text('{"maxAttempts":101}'),
    text('{"replyTo":"$JS.API.STREAM.DELETE.VGAS_TASKS"}'),
    text('{"kind":"other"}'),
    text("[]"),
    encode([]),
    encode({ id: "a b" }),
    encode({ id: 7 }),
    encode({ timeoutMs: "soon" }),
    encode({ expiresMs: -1 }),
    encode({ replyTo: "vgas.tasks.default.echo" }),
    encode({ replyTo: "_INBOX.>" }),
    bytes(0x80 + 1, 0x91, 0x01, 0x02),
    new Uint8Array(MIB / 2).fill(0xff),
  ];
}

describe("garbage", () => {
  const swarm = new TestSwarm();

  it("P9: every broken task gets a failed result and a dead letter, and the swarm goes on", async () => {
    const up = await swarm.up();
    const admin = await swarm.admin();
    const results = await admin.collect();
    const [warm] = await admin.submit("echo", [{ input: "warm" }]);
    await results.until(() => results.byId.has(`s${warm}`));
    const before = residentBytes(up.child.pid as number);

    const bad = garbage();
    const letters: DeadLetter[] = [];
    await admin.bus.subscribe(admin.names.dead("default", "*"), ({ data }) => {
      letters.push(decode(data) as DeadLetter);
    });
    const subject = admin.names.task("default", "echo");
    const acks = await Promise.all(bad.map((body) => admin.publisher.publish(subject, body)));
    await results.until(() => acks.every(({ sequence }) => results.byId.has(`s${sequence}`)));
    for (const { sequence } of acks) {
      const result = results.byId.get(`s${sequence}`);
      expect([result?.status, result?.error?.code]).toEqual(["failed", "INVALID"]);
    }
    await eventually(async () => (letters.length >= acks.length ? true : undefined), "every dead letter");
    expect(new Set(letters.map(({ id }) => id))).toEqual(new Set(acks.map(({ sequence }) => `s${sequence}`)));
    const original = new Map(acks.map(({ sequence }, i) => [`s${sequence}`, bad[i]]));
    for (const { id, task } of letters) expect(Buffer.from(task).equals(original.get(id) as Uint8Array)).toBe(true);

    // Requests are answered with a typed error, the rest is survived.
    for (const operation of ["burst", "recall", "owned"] as const) {
      for (const body of bad) {
        const answer = await admin.bus.request("garbage", admin.names.host(up.hostId, operation), body, {
          timeoutMs: 5_000,
        });
        expect((decode(answer.data) as { readonly error?: { readonly code: string } }).error?.code).toBe("INVALID");
      }
    }
    const elsewhere = [
      admin.names.heartbeat("nobody"),
      admin.names.heartbeat(up.hostId),
      admin.names.settled(up.hostId),
      admin.names.actor("vault"),
      admin.names.now("default", "echo"),
      admin.names.cancel("default", "x"),
      admin.names.event("default", "x"),
    ];
    for (const other of elsewhere) for (const body of bad) admin.bus.publish(other, body);
    await admin.bus.flush();

    const [good] = await admin.submit("echo", [{ input: "still there?" }]);
    await results.until(() => results.byId.has(`s${good}`));
    expect(results.byId.get(`s${good}`)).toMatchObject({ status: "ok", output: "still there?" });
    expect(residentBytes(up.child.pid as number) - before).toBeLessThan(64 * MIB);
    expect(up.child.exitCode).toBeNull();
  });

  it("P9: a message that is a byte too large is refused by the stream, the largest that fits is run", async () => {
    const admin = await swarm.admin();
    const results = await admin.collect();
    const overhead = encode({ input: new Uint8Array(MAX_TASK_BYTES - 100) }).length - (MAX_TASK_BYTES - 100);
    const largest = encode({ input: new Uint8Array(MAX_TASK_BYTES - overhead) });
    expect(largest.length).toBe(MAX_TASK_BYTES);
    const subject = admin.names.task("default", "echo");
    await expect(
      admin.publisher.publish(subject, encode({ input: new Uint8Array(MAX_TASK_BYTES - overhead + 1) })),
    ).rejects.toMatchObject({
      code: "TOO_LARGE",
    });
    const { sequence } = await admin.publisher.publish(subject, largest);
    await results.until(() => results.byId.has(`s${sequence}`));
    expect(results.byId.get(`s${sequence}`)?.status).toBe("ok");
  });

  it("P9: a bad element of an array fails alone, and a bad answer subject gets no answer", async () => {
    const admin = await swarm.admin();
    const results = await admin.collect();
    const tasks = [{ input: 1 }, 5, { id: "a.b" }, { input: 2 }];
    const { sequence } = await admin.publisher.publish(admin.names.task("default", "echo"), encode(tasks));
    await results.until(() => tasks.every((_, i) => results.byId.has(`s${sequence}-${i}`)));
    expect(tasks.map((_, i) => results.byId.get(`s${sequence}-${i}`)?.status)).toEqual([
      "ok",
      "failed",
      "failed",
      "ok",
    ]);
  });
});
