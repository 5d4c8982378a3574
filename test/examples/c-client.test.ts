/** The client in C: built as its Makefile says, against a real swarm. */
import { execFile, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";
import { describeConnection } from "../../src/bus/credentials/connection-file.ts";
import { connectionOfHome } from "../../src/client/home-connection.ts";
import { describeWith } from "../support/require.ts";
import { TestSwarm } from "../support/swarm.ts";

const EXAMPLE = fileURLToPath(new URL("../../examples/c", import.meta.url));
const PACKAGES = ["libnats", "msgpack", "libcrypto"];

/** Why the example cannot be built here. */
function missing(): string | undefined {
  for (const tool of ["cc", "make", "pkg-config"]) {
    if (spawnSync(tool, ["--version"]).error !== undefined) return `there is no ${tool}`;
  }
  const absent = PACKAGES.filter((name) => spawnSync("pkg-config", ["--exists", name]).status !== 0);
  return absent.length === 0 ? undefined : `pkg-config finds no ${absent.join(", ")} (see examples/c/Makefile)`;
}

const run = promisify(execFile);
const swarm = new TestSwarm();

describeWith("c", missing())("examples/c", () => {
  let client: string;
  let connection: string;

  beforeAll(async () => {
    client = join(swarm.dir, "vgas-client");
    connection = join(swarm.dir, "connection.json");
    await Promise.all([run("make", ["-s", "-C", EXAMPLE, `OUT=${swarm.dir}`]), swarm.up()]);
    writeFileSync(connection, JSON.stringify(await describeConnection(await connectionOfHome(swarm.home))));
  });

  test("submits, reads results live and stored, cancels what runs, and has a task run now", async () => {
    const { stdout } = await run(client, [connection]);
    const shown = stdout
      .trimEnd()
      .split("\n")
      .map((line) => line.replaceAll(/s\d+/g, "s#"));
    const [first, ...rest] = shown;
    expect(first).toBe('live   s#: ok "hello from C"');
    // The elements of an array end in any order.
    expect(rest.slice(0, 3).sort()).toEqual([
      'live   s#-0: ok "red"',
      'live   s#-1: ok "green"',
      'live   s#-2: ok "blue"',
    ]);
    expect(rest.slice(3)).toEqual([
      "cancel s#: cancelled",
      "live   s#: cancelled",
      "now    s#",
      'live   s#: ok "at once"',
      'stored s#: ok "hello from C"',
    ]);
  });

  test("says what is wrong with its argument", async () => {
    const nothing = join(swarm.dir, "nothing.json");
    await expect(run(client, [nothing])).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining(nothing) });
    writeFileSync(nothing, "{}");
    await expect(run(client, [nothing])).rejects.toMatchObject({ stderr: expect.stringContaining("vgas connection") });
  });
});
