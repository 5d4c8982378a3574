import { createUser } from "@nats-io/nkeys";
import { describe, expect, test } from "vitest";
import { connectBus } from "../../src/bus/connection.ts";
import type { BusStatus } from "../../src/bus/status.ts";
import { freePort, useNats } from "../support/nats.ts";
import { rejection } from "../support/wait.ts";

const known = createUser();
const revoked = createUser();
const users = (...names: { getPublicKey(): string }[]): string =>
  `authorization { users: [${names.map((name) => `{ nkey: ${name.getPublicKey()} }`).join(", ")}] }`;
const nats = useNats({ config: users(known, revoked) });
const options = { name: "test", inboxPrefix: "_INBOX.someone" };

describe("connectBus", () => {
  test("connects with an nkey and knows who it is", async () => {
    const bus = await nats.bus({ seed: known.getSeed(), user: "someone" });
    expect(bus.user).toBe("someone");
    expect(bus.state).toBe("connected");
    expect(bus.serverId).toMatch(/^N[A-Z0-9]+$/);
    expect(bus.maxPayload).toBe(1_048_576);
    expect(bus.inbox()).toMatch(/^_INBOX\.someone\.[A-Z0-9]+$/i);
  });

  test("says which address did not answer, and what to do", async () => {
    const url = `nats://127.0.0.1:${await freePort()}`;
    const error = await rejection(connectBus({ ...options, url, seed: undefined }));
    expect(error).toMatchObject({ code: "NO_SWARM", message: expect.stringContaining(url) });
    expect(error).toMatchObject({ message: expect.stringContaining("vgas up") });
  });

  test.each([
    ["no credential", undefined],
    ["a credential that nobody issued", createUser().getSeed()],
  ])("with %s is refused", async (_what, seed) => {
    expect(await rejection(connectBus({ ...options, url: nats.url, seed }))).toMatchObject({
      code: "PERMISSION_DENIED",
    });
  });

  test("takes the first of several addresses that answers", async () => {
    const url = `nats://127.0.0.1:${await freePort()}, ${nats.url}`;
    const bus = await connectBus({ ...options, url, seed: known.getSeed() });
    expect(bus.state).toBe("connected");
    await bus.close();
  });

  test("a credential that is revoked is reported, and the bus goes on trying until it is back", async () => {
    const bus = await nats.bus({ seed: revoked.getSeed(), user: "someone" });
    const refused = new Promise<BusStatus>((resolve) => {
      bus.onStatus((status) => {
        if (status.type === "error") resolve(status);
      });
    });
    const back = new Promise<void>((resolve) => {
      bus.onStatus((status) => {
        if (status.type === "reconnected") resolve();
      });
    });
    await nats.reload(users(known));
    expect(await refused).toMatchObject({ error: { code: "PERMISSION_DENIED" } });
    await nats.reload(users(known, revoked));
    await back;
    expect(bus.state).toBe("connected");
  });
});
