/** `vgas backup` and `vgas restore`: a node goes on from a backup. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { launchNode } from "../support/node.ts";
import { TestSwarm } from "../support/swarm.ts";
import { vgas } from "./in-process.ts";
import { temporary } from "./support.ts";

const swarm = new TestSwarm();

test("a restored home is the same node, with its tasks, results and vault", async () => {
  const home = ["--home", swarm.home];
  const dir = temporary();
  const [file, passphrase, copy] = [join(dir, "b.tar.gz"), join(dir, "passphrase"), join(dir, "copy")];
  writeFileSync(passphrase, "correct horse battery staple\n", { mode: 0o600 });
  const node = await swarm.up("--agents", "1");
  expect((await vgas(["vault", "init", "--passphrase-file", passphrase, ...home])).code).toBe(0);
  await vgas(["submit", "echo", "1", "--id", "done", "--wait", ...home]);
  await vgas(["submit", "nobody", "--id", "waits", ...home]);
  const early = await vgas(["backup", file, ...home]);
  expect(early.err).toContain("a backup is of a home at rest: stop the node first");
  expect(early).toMatchObject({ code: 78, out: "" });
  expect(await node.kill()).toBe(0);
  const made = await vgas(["backup", file, "--json", ...home]);
  expect(JSON.parse(made.out)).toMatchObject({ file, hostId: node.hostId });
  const restored = await vgas(["restore", file, "--home", copy]);
  expect(restored.err).toContain(`Node ${node.hostId}, as of 20`);
  expect(restored.code).toBe(0);
  expect((await vgas(["restore", file, "--home", copy])).err).toContain(
    "is not empty: move it away, or give another --home",
  );
  const args = ["up", "--nats-port", "0", "--http-port", "0", "--agents", "1", "--vault-unlock", `file:${passphrase}`];
  const launched = launchNode(args, copy);
  try {
    expect((await launched.ready).hostId).toBe(node.hostId);
    const result = await vgas(["results", "done", "--home", copy]);
    expect(JSON.parse(result.out)).toMatchObject({ id: "done", status: "ok", output: 1 });
    expect(JSON.parse((await vgas(["task", "waits", "--json", "--home", copy])).out)).toMatchObject({
      state: "waiting",
    });
    expect(JSON.parse((await vgas(["vault", "status", "--json", "--home", copy])).out)).toMatchObject({
      state: "unsealed",
    });
  } finally {
    await launched.kill();
  }
});
