/** `$SRV`: what the tools of NATS see of a swarm. */
import { describe, expect, it } from "vitest";
import { TestSwarm } from "../support/swarm.ts";

describe("NATS micro services", () => {
  const swarm = new TestSwarm();

  it("every node answers PING, INFO and STATS, to all, by name and by id", async () => {
    const up = await swarm.up();
    const worker = await swarm.join("worker", "--roles", "agents");
    const dispatcher = await swarm.join("dispatcher", "--roles", "dispatcher");
    const admin = await swarm.admin();
    const ask = async (subject: string, maxMessages: number): Promise<Record<string, unknown>[]> => {
      const options = { timeoutMs: 5_000, maxMessages };
      const answers = await admin.bus.requestMany("discovery", subject, new Uint8Array(0), options);
      return answers.map(({ data }) => JSON.parse(new TextDecoder().decode(data)) as Record<string, unknown>);
    };
    const everybody = [up.hostId, worker.hostId, dispatcher.hostId].sort();
    for (const subject of ["$SRV.PING", "$SRV.PING.vgas", "$SRV.INFO", "$SRV.STATS.vgas"]) {
      const answers = await ask(subject, 3);
      expect(answers.map(({ id }) => id).sort()).toEqual(everybody);
      expect(answers.every(({ name, version }) => name === "vgas" && /^\d+\.\d+\.\d+$/.test(String(version)))).toBe(
        true,
      );
    }
    const [info] = await ask(`$SRV.INFO.vgas.${worker.hostId}`, 1);
    expect(info).toMatchObject({ type: "io.nats.micro.v1.info_response", metadata: { roles: "agents" } });

    const results = await admin.collect();
    await admin.submit("echo", [{ input: 1 }, { input: 2 }]);
    await results.reach(2);
    const stats = await ask("$SRV.STATS", 3);
    const requests = stats.flatMap(({ endpoints }) =>
      (endpoints as { num_requests: number }[]).map((e) => e.num_requests),
    );
    expect(requests.reduce((sum, n) => sum + n, 0)).toBe(2);
  });
});
