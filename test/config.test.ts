import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { resolveConfig } from "../src/config.ts";

describe("resolveConfig", () => {
  let home: string;

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), "vgas-config-"));
  });

  afterEach(() => rmSync(home, { recursive: true, force: true }));

  const file = (value: unknown): void => {
    writeFileSync(join(home, "config.json"), typeof value === "string" ? value : JSON.stringify(value));
  };

  it("lets a flag beat the environment, that the file, and that the default", () => {
    file({ slots: 3, agents: 3, pool: "file" });
    const config = resolveConfig({ home, slots: 1 }, { VGAS_SLOTS: "2", VGAS_AGENTS: "2" });
    expect(config).toMatchObject({ slots: 1, agents: 2, pool: "file", natsPort: 4222 });
    expect(Object.isFrozen(config)).toBe(true);
  });

  it.each([
    [{ slots: 0 }, {}, "slots: .*got 0.*the command line"],
    [{}, { VGAS_NATS_PORT: "70000" }, "natsPort: .*70000.*the environment"],
    [{}, { VGAS_SLOTS: "many" }, 'VGAS_SLOTS must be a number, got "many"'],
    [{ pool: "a.b" }, {}, "pool: must be a token.*a\\.b"],
    [{ natsUrl: "http://x" }, {}, "natsUrl: must be nats://"],
    [{}, { VGAS_ROLES: "dispatcher,cook" }, "roles: .*cook"],
  ])("says which field of %j and %j is wrong, and where it was set", (flags, env, message) => {
    expect(() => resolveConfig({ home, ...flags }, env)).toThrow(new RegExp(message));
  });

  it.each([
    ["{", "is not JSON"],
    ["[]", "must hold one JSON object"],
    ['{"slotz":1}', "slotz"],
  ])("refuses the config file %s", (text, message) => {
    file(text);
    expect(() => resolveConfig({ home }, {})).toThrow(message);
  });
});
