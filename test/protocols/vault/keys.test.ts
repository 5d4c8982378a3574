/** What an operator may set for a key, at the door of the vault. */
import { expect, test } from "vitest";
import { keySettings } from "../../../src/protocols/vault/keys.ts";
import { OPERATIONS } from "../../../src/protocols/vault/operations.ts";

const key = { provider: "openai", name: "default" };

test.each(["host", "content-length", "connection", "transfer-encoding"])(
  "no key is carried in the header %s",
  (header) => {
    const { args } = OPERATIONS.store;
    expect(args.safeParse({ ...key, sealed: new Uint8Array(1), settings: { header } }).success).toBe(false);
    expect(args.safeParse({ ...key, settings: { header } }).success).toBe(false);
    expect(args.safeParse({ ...key, settings: { header: "x-api-key" } }).success).toBe(true);
    expect(args.safeParse({ ...key, settings: { header: null } }).success).toBe(true);
  },
);

test("settings that were accepted once stay readable", () => {
  expect(keySettings.safeParse({ header: "host" }).success).toBe(true);
});
