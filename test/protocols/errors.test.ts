import { describe, expect, it } from "vitest";
import { TaskError, VgasError } from "../../src/protocols/errors.ts";
import { fromWireError, toWireError } from "../../src/protocols/wire-error.ts";

describe("toWireError", () => {
  it("keeps code, message and whether a retry can help, also of a TaskError of another copy of the class", () => {
    expect(toWireError(new VgasError("TIMEOUT", "late"))).toEqual({
      code: "TIMEOUT",
      message: "late",
      retryable: true,
    });
    const foreign = Object.assign(new Error("no"), { name: "TaskError", code: "NO", retryable: false });
    for (const error of [new TaskError("NO", "no", { retryable: false }), foreign]) {
      expect(toWireError(error)).toEqual({ code: "NO", message: "no", retryable: false });
    }
  });

  it("shows the error of ours that a library wrapped, and does not follow a circle", () => {
    const sealed = new VgasError("VAULT_SEALED", "the vault is sealed");
    const wrapped = new Error("Connection error.", { cause: new TypeError("fetch failed", { cause: sealed }) });
    expect(toWireError(wrapped)).toEqual({
      code: "VAULT_SEALED",
      message: "the vault is sealed (Error: Connection error.)",
      retryable: true,
    });
    const circle = new Error("round");
    circle.cause = circle;
    expect(toWireError(circle)).toMatchObject({ code: "AGENT_ERROR" });
  });

  it("P9: bounds and survives whatever a module throws", () => {
    const unshowable = { toString: () => ({}) };
    const trapped = new Proxy(new Error("x"), {
      get: () => {
        throw new Error("trap");
      },
    });
    const huge = Object.assign(new TaskError("C".repeat(1e6), "m".repeat(1e6)));
    for (const thrown of [undefined, null, 5, "text", Symbol("s"), unshowable, trapped, huge, () => 1]) {
      const { code, message } = toWireError(thrown);
      expect(code.length).toBeLessThan(200);
      expect(message.length).toBeLessThan(5_000);
    }
    expect(toWireError(new RangeError("bad"))).toEqual({
      code: "AGENT_ERROR",
      message: "RangeError: bad",
      retryable: true,
    });
  });

  it("comes back as what it was, and an unknown code as INTERNAL that names it", () => {
    expect(fromWireError({ code: "NOT_FOUND", message: "x", retryable: false }).code).toBe("NOT_FOUND");
    expect(fromWireError({ code: "ODD", message: "x", retryable: false })).toMatchObject({
      code: "INTERNAL",
      message: "ODD: x",
    });
  });
});
