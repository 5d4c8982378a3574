import { describe, expect, it } from "vitest";
import { renderAccounts } from "../../../src/bus/credentials/accounts-file.ts";
import { guestImports, isGuestName, swarmExports } from "../../../src/protocols/guest-account.ts";
import { covers } from "../../../src/protocols/subject-sets.ts";
import { Names } from "../../../src/protocols/subjects.ts";

const key = (letter: string): string => `U${letter.repeat(55)}`;
const names = new Names();
const CANARY = key("Z");

describe("the accounts file", () => {
  const worker = { user: "a", role: "worker", publicKey: key("A") } as const;
  const guest = { user: "gabcdefghi", role: "guest", publicKey: key("G") } as const;

  it("is the same for the same users in any order", () => {
    const other = { user: "b", role: "worker", publicKey: key("B") } as const;
    expect(renderAccounts([guest, other, worker], CANARY, names)).toBe(
      renderAccounts([worker, other, guest], CANARY, names),
    );
    expect(renderAccounts([worker], key("Y"), names)).not.toBe(renderAccounts([worker], CANARY, names));
  });

  it("is never written without users, for such a server lets everybody in", () => {
    expect(() => renderAccounts([], CANARY, names)).toThrow(/open to everybody/);
  });

  it("puts a guest into an account of its own, without JetStream, and nobody else", () => {
    const text = renderAccounts([worker, guest], CANARY, names);
    const [swarm = "", own = ""] = text.split("GUEST_gabcdefghi {");
    expect(swarm).toContain("jetstream: enabled");
    expect(swarm).toContain(worker.publicKey);
    expect(swarm).not.toContain(guest.publicKey);
    expect(own).toContain(guest.publicKey);
    expect(own).not.toContain("jetstream");
  });
});

describe("what a guest's account takes from the swarm's", () => {
  it("is exported, and bound to its own name", () => {
    const exports = swarmExports(names);
    for (const { kind, subject } of guestImports("gabcdefghi", names)) {
      expect(exports.some((each) => each.kind === kind && covers(each.subject, subject))).toBe(true);
      expect(covers(subject, subject.replace("gabcdefghi", "gzzzzzzzzz"))).toBe(false);
    }
  });

  it.each(["gabcdefghi", "g234567abc"])("takes %s for a guest's name", (name) => {
    expect(isGuestName(name)).toBe(true);
  });

  it.each(["gabcdefgh", "gabcdefghij", "nabcdefghi", "gABCDEFGHI", "gabcdefgh-", "g*", ""])(
    "does not take %o",
    (name) => {
      expect(isGuestName(name)).toBe(false);
    },
  );
});
