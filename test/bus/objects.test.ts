import { createHash, randomBytes } from "node:crypto";
import { createUser } from "@nats-io/nkeys";
import { Objm } from "@nats-io/obj";
import { beforeAll, describe, expect, test } from "vitest";
import { renderAccounts } from "../../src/bus/credentials/accounts-file.ts";
import { Objects } from "../../src/bus/objects.ts";
import { Publisher } from "../../src/bus/publisher.ts";
import { ensureTopology, streamInfo } from "../../src/bus/topology.ts";
import { MAX_OBJECT_BYTES } from "../../src/protocols/limits.ts";
import { parseObjectRef } from "../../src/protocols/object-ref.ts";
import type { UserRole } from "../../src/protocols/roles.ts";
import { TOPOLOGY_DEFAULTS } from "../../src/protocols/streams.ts";
import { Names, objectChunks, objectInfo } from "../../src/protocols/subjects.ts";
import { useNats } from "../support/nats.ts";
import { PATIENT } from "../support/publishers.ts";
import { rejection } from "../support/wait.ts";

const ROLES: readonly UserRole[] = ["system", "client", "observer", "worker", "dispatcher", "guest"];
const names = new Names();
const pairs = new Map(ROLES.map((role) => [role, createUser()]));
const users = ROLES.map((role) => ({ user: role, role, publicKey: pairs.get(role)?.getPublicKey() ?? "" }));
// With the permissions that a swarm has: what is tested here is what each role really may.
const nats = useNats({ config: renderAccounts(users, createUser().getPublicKey(), names) });

beforeAll(async () => {
  const { bus } = await as("system");
  await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
});

async function as(role: UserRole) {
  const bus = await nats.bus({ user: role, seed: pairs.get(role)?.getSeed() ?? new Uint8Array() });
  const publisher = new Publisher(bus, PATIENT);
  return { bus, publisher, objects: new Objects(bus, publisher, names) };
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe("Objects", () => {
  test.each([0, 1, 256 * 1024, 1_048_577, 20 * 1_048_576, MAX_OBJECT_BYTES])(
    "takes %i bytes from a client, gives them to a worker, and is removed by it without a trace",
    async (size) => {
      const [client, worker, system] = [await as("client"), await as("worker"), await as("system")];
      const bytes = randomBytes(size);
      const ref = await client.objects.put("inputs", bytes);
      expect(ref).toEqual({ bucket: "vgas_inputs", name: expect.any(String), bytes: size, sha256: sha256(bytes) });
      expect(bytes.equals(await worker.objects.get(ref))).toBe(true);
      await worker.objects.remove(ref);
      expect(await rejection(client.objects.get(ref))).toMatchObject({ code: "OBJECT_MISSING" });
      // Two marks, which the server drops after a minute.
      expect((await streamInfo(system.bus, "OBJ_vgas_inputs"))?.bytes).toBeLessThan(10_000);
    },
  );

  test("refuses a byte more than MAX_OBJECT_BYTES, and an object that says it has more", async () => {
    const { objects } = await as("client");
    const put = objects.put("inputs", Buffer.alloc(MAX_OBJECT_BYTES + 1));
    expect(await rejection(put)).toMatchObject({ code: "TOO_LARGE", message: expect.stringContaining("67108865") });
    const ref = { bucket: "vgas_inputs", name: "x", bytes: MAX_OBJECT_BYTES + 1, sha256: sha256(Buffer.alloc(0)) };
    expect(await rejection(objects.get(ref))).toMatchObject({ code: "TOO_LARGE" });
  });

  test("is what other clients of object stores write and read, with the client's and the dispatcher's credential", async () => {
    const [client, dispatcher] = [await as("client"), await as("dispatcher")];
    const bytes = randomBytes(700_000);
    const ref = await dispatcher.objects.put("outputs", bytes);
    const outputs = await new Objm(client.bus.native).open("vgas_outputs");
    expect(bytes.equals((await outputs.getBlob(ref.name)) ?? Buffer.alloc(0))).toBe(true);
    expect(await outputs.info(ref.name)).toMatchObject({ size: 700_000, chunks: 3, deleted: false });

    const inputs = await new Objm(client.bus.native).open("vgas_inputs");
    await inputs.putBlob({ name: "a file.csv" }, bytes);
    const foreign = { bucket: "vgas_inputs", name: "a file.csv", bytes: bytes.length, sha256: sha256(bytes) };
    expect(bytes.equals(await dispatcher.objects.get(foreign))).toBe(true);
    await dispatcher.objects.remove(foreign);
    expect(await inputs.get("a file.csv")).toBe(null);
  });

  test("is OBJECT_MISSING where the content, the length or the name is another, or a part is gone", async () => {
    const { objects, publisher } = await as("worker");
    const ref = await objects.put("outputs", randomBytes(600_000));
    const wrong = [
      { ...ref, sha256: sha256(Buffer.from("other")) },
      { ...ref, bytes: 600_001 },
      { ...ref, name: "unknown" },
      // A name that is a wildcard as a subject, if it were one.
      { ...ref, name: ">" },
    ];
    for (const each of wrong) expect(await rejection(objects.get(each))).toMatchObject({ code: "OBJECT_MISSING" });
    await publisher.publish(objectChunks("vgas_outputs", ref.name), Buffer.alloc(0), {
      headers: { "Nats-Rollup": "sub" },
    });
    expect(await rejection(objects.get(ref))).toMatchObject({
      code: "OBJECT_MISSING",
      message: expect.stringContaining("600000 of its 600000 bytes are gone"),
    });
  });

  test.each([
    ["a chunk subject with a wildcard", { nuid: ">", size: 4 }],
    ["a link", { nuid: "x", size: 4, options: { link: { bucket: "vgas_inputs", name: "y" } } }],
    ["no JSON", "{"],
    ["no map", []],
  ])("takes a description with %s for none", async (_what, described) => {
    const { objects, publisher } = await as("client");
    const data = Buffer.from(typeof described === "string" ? described : JSON.stringify(described));
    await publisher.publish(objectInfo("vgas_inputs", "bad"), data);
    const ref = { bucket: "vgas_inputs", name: "bad", bytes: 4, sha256: sha256(Buffer.from("abcd")) };
    expect(await rejection(objects.get(ref))).toMatchObject({ code: "OBJECT_MISSING" });
    await objects.remove(ref);
  });

  test("touches no store but its own", async () => {
    const { objects } = await as("worker");
    const ref = { bucket: "other", name: "x", bytes: 1, sha256: sha256(Buffer.alloc(1)) };
    for (const work of [objects.get(ref), objects.remove(ref)])
      expect(await rejection(work)).toMatchObject({ code: "INVALID", message: expect.stringContaining('got "other"') });
  });

  test("leaves nothing of an object that was given up", async () => {
    const { objects, publisher } = await as("client");
    const system = await as("system");
    const before = (await streamInfo(system.bus, "OBJ_vgas_inputs"))?.bytes ?? 0;
    const over = new AbortController();
    const putting = objects.put("inputs", randomBytes(20 * 1_048_576), { signal: over.signal });
    // In the same stream: the rest cannot be stored yet.
    await publisher.publish(objectChunks("vgas_inputs", "behind-the-first-chunks"), Buffer.alloc(1));
    over.abort();
    expect(await rejection(putting)).toMatchObject({ code: "ABORTED" });
    await publisher.idle();
    expect((await streamInfo(system.bus, "OBJ_vgas_inputs"))?.bytes).toBeLessThan(before + 10_000);
  });

  test.each(["observer", "guest"] as const)("opens none to role %s that it could write", async (role) => {
    const { objects } = await as(role);
    const put = await rejection(objects.put("inputs", randomBytes(10)));
    expect(put).toMatchObject({ code: expect.stringMatching(/PERMISSION_DENIED|UNDELIVERABLE/) });
  });

  test("opens outputs to no client for writing", async () => {
    const { objects } = await as("client");
    expect(await rejection(objects.put("outputs", randomBytes(10)))).toMatchObject({ code: "PERMISSION_DENIED" });
  });
});

describe("parseObjectRef", () => {
  const good = { bucket: "b", name: "n", bytes: 3, sha256: "a".repeat(64) };

  test("takes the four fields, and leaves others out", () => {
    expect(parseObjectRef("inputRef", { ...good, more: 1 }, "b")).toEqual(good);
  });

  test.each([
    [{ ...good, bucket: "c" }, "INVALID", 'inputRef.bucket must be "b", got "c"'],
    [{ ...good, name: "" }, "INVALID", "inputRef.name must be text of 1 to 255 bytes"],
    [{ ...good, name: "x".repeat(256) }, "INVALID", "inputRef.name must be text of 1 to 255 bytes"],
    [{ ...good, bytes: -1 }, "INVALID", "inputRef.bytes must be a number of bytes, got -1"],
    [{ ...good, bytes: 10n }, "INVALID", "inputRef.bytes must be a number of bytes, got a bigint"],
    [{ ...good, sha256: "A".repeat(64) }, "INVALID", "inputRef.sha256 must be 64 hexadecimal digits in lower case"],
    [{ ...good, bytes: MAX_OBJECT_BYTES + 1 }, "TOO_LARGE", "inputRef has 67108865 bytes, at most 67108864 may be"],
    ["no map", "INVALID", 'inputRef.bucket must be "b", got nothing'],
    [null, "INVALID", "got nothing"],
  ])("refuses a wrong one (%#)", (value, code, message) => {
    expect(() => parseObjectRef("inputRef", value, "b")).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(message) }),
    );
  });
});
