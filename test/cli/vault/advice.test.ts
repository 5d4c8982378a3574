/** What a command says to do about what the vault refuses. */
import { expect, test } from "vitest";
import { advised } from "../../../src/cli/commands/vault/advice.ts";
import type { AdvisedError } from "../../../src/cli/failure.ts";
import { VgasError } from "../../../src/protocols/errors.ts";

test("a question that was not answered in time is told without names of messages, and what could have been done", () => {
  const hello = advised(new VgasError("TIMEOUT", "vault.hello timed out after 1 ms"), "store");
  expect(hello).toMatchObject({ code: "TIMEOUT", message: "the vault did not answer within 1 ms" });
  expect((hello as AdvisedError).hint).toMatch(/^--timeout takes milliseconds/);
  const store = advised(new VgasError("TIMEOUT", "vault.operation timed out after 60000 ms"), "store");
  expect((store as AdvisedError).hint).toMatch(/^It may have been done all the same/);
});

test("a role that may not is told the ones that may", () => {
  const refused = (op: "store" | "list"): AdvisedError =>
    advised(new VgasError("PERMISSION_DENIED", `the role client may not do vault.${op}`), op) as AdvisedError;
  expect(refused("store").hint).toMatch(/^The role admin may: `vgas connection --role admin`/);
  expect(refused("list").hint).toMatch(/^The role admin or observer may/);
});

test("a full disk of the vault's node is its own to mend", () => {
  const full = new VgasError("CONFIG", "cannot write /h/vault/vault.bin: no space is left on that disk: free some");
  expect((advised(full, "store") as AdvisedError).hint).toContain("The vault's node says so");
});

test("a message that names a command is left as it is, and so is what is no error of vgas", () => {
  const said = new VgasError("CONFIG", "make it anew: `vgas connection --role admin`");
  const other = new Error("x");
  expect(advised(said, "store")).toBe(said);
  expect(advised(other, "store")).toBe(other);
});
