import { appendFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Complaints } from "../../../src/bus/nats-server/complaints.ts";
import { temporaryDirectory } from "../../support/home.ts";

const PID = 4711;
const FULL = "JetStream stream '$G > T' critical write error: no space left on device";

/** A log that grows, and what is read from it. */
async function logged() {
  const path = join(await temporaryDirectory(), "nats-server.log");
  const complaints = new Complaints(path, PID);
  const line = (text: string, { pid = PID, level = "ERR" } = {}): string =>
    `[${pid}] 2026/11/29 22:00:00.000000 [${level}] ${text}\n`;
  return {
    path,
    next: () => complaints.next(),
    write: (text: string) => appendFileSync(path, text),
    say: (text: string, how?: Parameters<typeof line>[1]) => appendFileSync(path, line(text, how)),
  };
}

test("the last complaint since the last look is told, once", async () => {
  const { next, say } = await logged();
  expect(await next()).toBeUndefined();
  say("Server is ready", { level: "INF" });
  expect(await next()).toBeUndefined();
  say("Filestore [T] Critical write error: write 1.blk: no space left on device");
  say(FULL);
  say("Client connection closed", { level: "DBG" });
  expect(await next()).toBe(FULL);
  expect(await next()).toBeUndefined();
  say("JetStream failed to store a msg on stream '$G > T'");
  expect(await next()).toBe("JetStream failed to store a msg on stream '$G > T'");
});

test.each([
  FULL,
  "JetStream failed to store a msg on stream '$G > KV_x': no message",
  "JetStream out of File resources, will be DISABLED",
  "JetStream initiating meta leader transfer, disabling JetStream",
  "Error writing: disk quota exceeded",
  "open /x/1.blk: read-only file system",
])("%j is a complaint", async (text) => {
  const { next, say } = await logged();
  say(text);
  expect(await next()).toBe(text);
});

test("what an earlier life of the broker said is not of this one", async () => {
  const { next, say } = await logged();
  say(FULL, { pid: 4710 });
  expect(await next()).toBeUndefined();
});

test("a line that is being written is read when it is whole", async () => {
  const { next, say, write } = await logged();
  say("Server is ready", { level: "INF" });
  write(`[${PID}] 2026/11/29 22:00:00.000000 [ERR] Filestore [T] Critical write er`);
  expect(await next()).toBeUndefined();
  write("ror: no space left on device\n");
  expect(await next()).toBe("Filestore [T] Critical write error: no space left on device");
});

test("a line that was cut off on a full disk does not hide the one that follows on it", async () => {
  const { next, say, write } = await logged();
  write(`[${PID}] 2026/11/29 22:00:00.000000 [ERR] JetStr`);
  say(FULL);
  expect(await next()).toBe(FULL);
});

test("a log that was rotated is read from its beginning", async () => {
  const { next, say, path } = await logged();
  for (let i = 0; i < 100; i++) say("Server is ready", { level: "INF" });
  expect(await next()).toBeUndefined();
  renameSync(path, `${path}.1`);
  say(FULL);
  expect(await next()).toBe(FULL);
});

test("of a log that grows faster than it is read the end is read", async () => {
  const { next, say, write, path } = await logged();
  say("Server is ready", { level: "INF" });
  await next();
  say("critical write error: too old to be looked at");
  write("x".repeat(300 * 1024));
  expect(await next()).toBeUndefined();
  say(FULL);
  expect(await next()).toBe(FULL);
  // A log with no end of a line at all does not stop it either.
  writeFileSync(path, "y".repeat(300 * 1024));
  expect(await next()).toBeUndefined();
  say(FULL);
  expect(await next()).toBe(FULL);
});
