/** A master whose disk fills up: it says so, loses nothing, and goes on by itself when there is room. A real process on a small tmpfs. */
import { mkdirSync } from "node:fs";
import { expect, it, onTestFinished } from "vitest";
import type { SwarmState } from "../../src/swarm-view/health.ts";
import { vgas } from "../cli/in-process.ts";
import { launchNode } from "../support/node.ts";
import { describeWith } from "../support/require.ts";
import { SmallDisk, smallDiskMissing } from "../support/small-disk.ts";
import { eventually } from "../support/wait.ts";

describeWith("mount", smallDiskMissing())("a master on a full disk", () => {
  it("P1: is not ready and says why, and finishes by itself what was submitted meanwhile", async () => {
    const disk = new SmallDisk(64 * 2 ** 20);
    const home = `${disk.dir}/home`;
    mkdirSync(home, { mode: 0o700 });
    const launched = launchNode(["up", "--nats-port", "0", "--http-port", "0"], home);
    // With its nats-server, which would outlive a kill.
    onTestFinished(async () => {
      await launched.kill("SIGTERM");
    });
    const { http } = await launched.ready;
    const readyz = async () => (await fetch(`${http}/readyz`)).json() as Promise<{ status: string; trouble?: string }>;
    const status = async () => JSON.parse((await vgas(["status", "--json", "--home", home])).out) as SwarmState;
    expect(await readyz()).toEqual({ status: "ready", bus: "connected" });
    disk.fill();
    const submitted = vgas(["submit", "echo", '"kept"', "--wait", "--home", home]);
    const { trouble } = await eventually(async () => {
      const said = await readyz();
      return said.trouble === undefined ? undefined : said;
    }, "the node to say that it stores nothing");
    expect(trouble).toContain("no space is left on that disk");
    const { health } = await eventually(async () => {
      const said = await status();
      return said.reasons.some((reason) => reason.includes("does not store what it is sent")) ? said : undefined;
    }, "the swarm's status to say it too");
    expect(health).toBe("degraded");
    await disk.empty();
    expect(JSON.parse((await submitted).out)).toMatchObject({ status: "ok", output: "kept" });
    await eventually(async () => ((await readyz()).status === "ready" ? true : undefined), "the node to be ready");
    expect((await status()).reasons).not.toContainEqual(expect.stringContaining("does not store"));
    expect(await (await fetch(`${http}/metrics`)).text()).toMatch(/^vgas_broker_restarts_total [1-9]/m);
  });
});
