/** The client that knows nothing of vgas, against a real swarm. */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { describeConnection } from "../../src/bus/credentials/connection-file.ts";
import { connectionOfHome } from "../../src/client/home-connection.ts";
import { TestSwarm } from "../support/swarm.ts";

const STRANGER = fileURLToPath(new URL("../../examples/stranger/publish-and-subscribe.mjs", import.meta.url));
const swarm = new TestSwarm();

test("publishes one by one, as an array and as JSON, and reads every result live and stored", async () => {
  await swarm.up();
  const file = join(swarm.dir, "connection.json");
  writeFileSync(file, JSON.stringify(await describeConnection(await connectionOfHome(swarm.home))));
  const { stdout } = await promisify(execFile)(process.execPath, [STRANGER, file]);
  const lines = stdout.trimEnd().split("\n");
  const outputs = ['{"greeting":"hello"}', '{"type":"Buffer","data":[1,2,3]}', '"red"', '"green"', '"blue"'];
  const expected = [...outputs, '{"from":"JSON","list":[1,2.5,null]}'];
  for (const how of ["live", "stored"]) {
    const shown = lines.filter((line) => line.startsWith(how));
    expect(shown.map((line) => /: ok (.*) {2}agent /.exec(line)?.[1])).toEqual(expected);
  }
  expect(lines.filter((line) => line.startsWith("inbox"))).toEqual([expect.stringContaining("[1,2,3]")]);
});
