import { randomBytes } from "node:crypto";
import { createUser } from "@nats-io/nkeys";
import { describe, expect, test } from "vitest";
import { Door, Refused } from "../../../src/actors/vault/door.ts";
import { encode } from "../../../src/bus/codec/codec.ts";
import { signerOf } from "../../../src/bus/sealed/signing.ts";
import type { UserRole } from "../../../src/protocols/roles.ts";
import { type OperationMessage, REQUEST_DOMAIN, REQUEST_WINDOW_MS } from "../../../src/protocols/vault/messages.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { rejection } from "../../support/wait.ts";

const ROLES: Readonly<Record<string, UserRole>> = {
  admin: "admin",
  someone: "client",
  system: "system",
  node: "worker",
};
const signers = new Map(Object.keys(ROLES).map((user) => [user, signerOf(user, createUser().getSeed())]));

function newDoor(clock = new ManualClock()) {
  const door = new Door({
    principals: {
      find: async (user) => {
        const [role, signer] = [ROLES[user], signers.get(user)];
        return role && signer && { publicKey: signer.publicKey, role };
      },
    },
    hostId: "master",
    boot: "boot",
    clock,
  });
  return { door, clock };
}

function message(
  user: string,
  at: number,
  { op = "list", args = {}, by = user }: { op?: string; args?: object; by?: string } = {},
): OperationMessage {
  const body = encode({ v: 1, op, boot: "boot", at, nonce: randomBytes(16), args });
  const signature = signers.get(by)?.sign(Buffer.concat([Buffer.from(REQUEST_DOMAIN), body]));
  if (signature === undefined) throw new Error(`no signer ${by}`);
  return { user, body, signature };
}

async function refusal(asked: Promise<unknown>): Promise<Refused> {
  const error = await rejection(asked);
  if (!(error instanceof Refused)) throw error;
  return error;
}

describe("Door", () => {
  test("admits a request of a user once, as who he is", async () => {
    const { door, clock } = newDoor();
    const asked = message("admin", clock.now());
    expect(await door.admit(asked)).toMatchObject({ op: "list", args: {}, who: { user: "admin", role: "admin" } });
    expect(await refusal(door.admit(asked))).toMatchObject({ error: { code: "REPLAYED" }, op: "list" });
    expect((await door.admit(message("system", clock.now()))).who).toEqual({
      user: "system",
      role: "system",
      host: "master",
    });
  });

  test("names nobody whose signature is not his", async () => {
    const { door, clock } = newDoor();
    for (const asked of [
      message("admin", clock.now(), { by: "someone" }),
      { ...message("admin", 0), user: "nobody" },
    ]) {
      const refused = await refusal(door.admit(asked));
      expect([refused.error.code, refused.who]).toEqual(["PERMISSION_DENIED", undefined]);
    }
  });

  test("takes no request again when the machine's clock was set back, nor when it goes slowly", async () => {
    const { door, clock } = newDoor();
    const asked = message("admin", clock.now());
    await door.admit(asked);
    for (const passedMs of [REQUEST_WINDOW_MS, 1, 30_000, 1_000, 3_600_000]) {
      clock.jump(passedMs);
      clock.wallOffset -= passedMs;
      expect(await refusal(door.admit(asked))).toMatchObject({ error: { code: "REPLAYED" } });
    }
  });

  test("takes no old request when the machine's clock was set back before it came, and new ones by its own clock", async () => {
    const { door, clock } = newDoor();
    const old = message("admin", clock.now());
    clock.jump(REQUEST_WINDOW_MS + 1);
    clock.wallOffset -= REQUEST_WINDOW_MS + 1;
    expect(await refusal(door.admit(old))).toMatchObject({ error: { code: "REPLAYED" } });
    clock.wallOffset += 86_400_000;
    expect(door.now()).toBe(1_700_000_000_000 + REQUEST_WINDOW_MS + 1);
    await door.admit(message("admin", door.now()));
  });

  test("takes what is up to the window old or ahead, and no more", async () => {
    const { door } = newDoor();
    for (const offMs of [-REQUEST_WINDOW_MS, REQUEST_WINDOW_MS]) await door.admit(message("admin", door.now() + offMs));
    for (const offMs of [-REQUEST_WINDOW_MS - 0.4, REQUEST_WINDOW_MS + 0.4])
      expect(await refusal(door.admit(message("admin", door.now() + offMs)))).toMatchObject({
        error: { code: "REPLAYED" },
      });
  });

  test("remembers nothing of what it refuses", async () => {
    const { door } = newDoor();
    const denied = message("someone", door.now());
    const invalid = message("admin", door.now(), { args: { much: true } });
    for (let i = 0; i < 2; i++) {
      expect(await refusal(door.admit(denied))).toMatchObject({
        error: { code: "PERMISSION_DENIED" },
        who: { user: "someone", role: "client" },
        op: "list",
      });
      expect(await refusal(door.admit(invalid))).toMatchObject({ error: { code: "INVALID" }, who: { user: "admin" } });
    }
  });
});
