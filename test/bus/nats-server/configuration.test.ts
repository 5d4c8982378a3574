import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { configurationOf } from "../../../src/bus/nats-server/configuration.ts";
import { PACKAGE_ROOT } from "../../../src/bus/nats-server/locate.ts";
import { MAX_PAYLOAD_BYTES } from "../../../src/protocols/limits.ts";
import { temporaryHome } from "../../support/home.ts";

const binary = { path: "/bin/nats-server", version: "2.15.1" };

/** nats-server.conf without its comments. */
async function settings(): Promise<string> {
  const text = await readFile(join(PACKAGE_ROOT, "nats-server.conf"), "utf8");
  return text.replaceAll(/^\s*#.*$/gm, "");
}

describe("nats-server.conf", () => {
  it("takes messages as large as limits.ts says", async () => {
    expect(await settings()).toMatch(new RegExp(`^max_payload: ${MAX_PAYLOAD_BYTES}$`, "m"));
  });

  it("opens one listener and no other door", async () => {
    const text = await settings();
    expect(text).not.toMatch(
      /^\s*(http|https|monitor|websocket|mqtt|leafnodes|cluster|gateway|prof_port|profile|system_account|no_auth_user|resolver|operator)\w*\s*[:={]/m,
    );
    expect(text.match(/^(host|port|listen)\b.*$/gm)).toEqual(["host: $VGAS_HOST", "port: $VGAS_PORT"]);
    expect(text.match(/^ *include .*$/gm)).toEqual(['include "accounts.conf"', 'include "tls.conf"']);
  });

  it("gets every variable that it names, and no other part of this process's environment but what Go reads", async () => {
    const { layout, hostId } = await temporaryHome();
    process.env["VGAS_TEST_KEY"] = "secret";
    const configuration = await configurationOf({ layout, binary, hostId, host: "127.0.0.1", durability: "process" });
    delete process.env["VGAS_TEST_KEY"];
    const environment = configuration.environment(4999);
    const named = new Set((await settings()).match(/(?<=\$)VGAS_\w+/g));
    expect(new Set(Object.keys(environment).filter((name) => name.startsWith("VGAS_")))).toEqual(named);
    expect(Object.values(environment)).not.toContain("secret");
  });

  it("lets timers be late only where no write is forced to the disk", async () => {
    const { layout, hostId } = await temporaryHome();
    const base = { layout, binary, hostId, host: "127.0.0.1" };
    expect((await configurationOf({ ...base, durability: "process" })).timerSlackNs).toBe(500_000);
    expect((await configurationOf({ ...base, durability: "power" })).timerSlackNs).toBeUndefined();
  });

  it("has a digest that changes with all that makes a broker another, but not with the port", async () => {
    const { layout, hostId } = await temporaryHome();
    const base = { layout, binary, hostId, host: "127.0.0.1", durability: "process" } as const;
    const digest = async (changed: object): Promise<string> => (await configurationOf({ ...base, ...changed })).digest;
    const same = await digest({});
    expect(await digest({})).toBe(same);
    for (const change of [
      { durability: "power" },
      { host: "0.0.0.0" },
      { serverName: "aaaaaaaaaa.vgas.internal" },
      { binary: { ...binary, version: "2.16.0" } },
      { hostId: "nother" },
    ]) {
      expect(await digest(change)).not.toBe(same);
    }
  });
});
