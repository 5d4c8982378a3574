import { describe, expect, test } from "vitest";
import { fingerprintOf } from "../../src/admission/fingerprint.ts";
import { PendingStore } from "../../src/admission/pending-store.ts";
import { Joiner } from "../support/joiner.ts";
import { type SwarmDoor, startSwarmDoor } from "../support/swarm-door.ts";
import { run } from "./admission-cli.ts";
import { onTerminal } from "./vault/pseudo-terminal.ts";

async function asking(swarm: SwarmDoor, user: string): Promise<{ fingerprint: string; ask: () => Promise<unknown> }> {
  const node = new Joiner(() => swarm.door, user);
  const facts = await node.hello(swarm.authority.pin);
  await node.ask(facts);
  return { fingerprint: fingerprintOf(facts), ask: () => node.ask(facts) };
}

describe("vgas approve", () => {
  test("shows who asks, and lets in who has the fingerprint", async () => {
    const swarm = await startSwarmDoor();
    const home = ["--home", swarm.home.dir];
    expect(await run(["approve", ...home])).toMatchObject({ code: 0, out: "", err: "Nobody asks to be let in.\n" });
    const { fingerprint, ask } = await asking(swarm, "n1");
    expect((await run(["approve", ...home])).out).toMatch(
      new RegExp(`^n1 +${fingerprint} +pending +m1 +10.0.0.7`, "m"),
    );
    const wrong = await run(["approve", "n1", "--fingerprint", "aaaa-aaaa", ...home]);
    expect(wrong).toMatchObject({ code: 1, out: "" });
    expect(wrong.err).toContain(fingerprint);
    expect(await ask()).toMatchObject({ body: { state: "pending" } });
    const { code, out } = await run(["approve", "n1", "--fingerprint", fingerprint, "--json", ...home]);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ node: "n1", state: "approved", fingerprint });
    expect(await ask()).toMatchObject({ body: { state: "admitted" } });
    expect(await run(["approve", "n2", ...home])).toMatchObject({ code: 4, out: "" });
    expect(await run(["approve", "--fingerprint", fingerprint, ...home])).toMatchObject({ code: 2 });
  });

  test("without a fingerprint it says the one that it approved", async () => {
    const swarm = await startSwarmDoor();
    const { fingerprint } = await asking(swarm, "n1");
    const { err } = await run(["approve", "n1", "--home", swarm.home.dir]);
    expect(err).toContain(`fingerprint ${fingerprint}`);
    expect(err).toContain("vgas revoke n1");
  });

  test("on a terminal it shows what it has, and asks", async () => {
    const swarm = await startSwarmDoor();
    const { fingerprint, ask } = await asking(swarm, "n1");
    for (const [key, code, state] of [
      ["n", 1, "pending"],
      ["y", 0, "admitted"],
    ] as const) {
      const terminal = onTerminal(["approve", "n1", "--home", swarm.home.dir]);
      await terminal.sees(`n1, m1 at 10.0.0.7, has the fingerprint ${fingerprint}`);
      await terminal.sees("[y/N] ");
      terminal.type(`${key}\r`);
      expect((await terminal.end).code).toBe(code);
      expect(await ask()).toMatchObject({ body: { state } });
    }
  });
});

describe("vgas revoke", () => {
  test("refuses who asks, and cuts off who is in, for good", async () => {
    const swarm = await startSwarmDoor();
    const home = ["--home", swarm.home.dir];
    const { ask } = await asking(swarm, "n1");
    expect(await run(["revoke", "n1", ...home])).toMatchObject({ code: 0, err: "n1 is refused.\n" });
    expect(await ask()).toMatchObject({ code: "NOT_ADMITTED" });
    expect((await new PendingStore(swarm.home.layout).find("n1"))?.state).toBe("refused");
    const node = new Joiner(() => swarm.door, "n2");
    expect(await node.join(await swarm.token())).toMatchObject({ status: 200 });
    const { out } = await run(["revoke", "n2", "--json", ...home]);
    expect(JSON.parse(out)).toEqual({ node: "n2", revoked: true, refused: false });
    expect(await node.join(await swarm.token())).toMatchObject({ code: "NODE_REVOKED" });
    // Its token could let it in under another id.
    const token = await swarm.token({ uses: 2 });
    expect(await new Joiner(() => swarm.door, "n4").join(token)).toMatchObject({ status: 200 });
    expect(await new Joiner(() => swarm.door, "n5").join(token)).toMatchObject({ status: 200 });
    await swarm.tokens.revoke(token.id);
    expect((await run(["revoke", "n4", ...home])).err).not.toContain(token.id);
    const usable = await swarm.token({ uses: 0 });
    for (const user of ["n6", "n7"]) await new Joiner(() => swarm.door, user).join(usable);
    expect((await run(["revoke", "n6", ...home])).err).toContain(`vgas token revoke ${usable.id}`);
    const json = (await run(["revoke", "n7", "--json", ...home])).out;
    expect(JSON.parse(json)).toMatchObject({ node: "n7", usableToken: usable.id });
    expect(await run(["revoke", "n3", ...home])).toMatchObject({ code: 4, out: "" });
    expect(await run(["revoke", "system", ...home])).toMatchObject({ code: 2, out: "" });
  });
});
