import { describe, expect, it } from "vitest";
import { renderUsers } from "../../../src/bus/credentials/users-file.ts";
import { Names } from "../../../src/protocols/subjects.ts";

const key = (letter: string): string => `U${letter.repeat(55)}`;

describe("the users file", () => {
  it("is the same for the same users in any order", () => {
    const a = { user: "a", role: "worker", publicKey: key("A") } as const;
    const b = { user: "b", role: "worker", publicKey: key("B") } as const;
    expect(renderUsers([b, a], new Names())).toBe(renderUsers([a, b], new Names()));
  });

  it("is never written without users, for such a server lets everybody in", () => {
    expect(() => renderUsers([], new Names())).toThrow(/open to everybody/);
  });
});
