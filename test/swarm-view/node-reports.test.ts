import { expect, test } from "vitest";
import { serveDiscovery } from "../../src/bus/micro-service.ts";
import { ALL_STATS } from "../../src/protocols/micro-service.ts";
import { Names } from "../../src/protocols/subjects.ts";
import type { Trouble } from "../../src/protocols/trouble.ts";
import { nodeReports } from "../../src/swarm-view/node-reports.ts";
import { useNats } from "../support/nats.ts";
import { eventually } from "../support/wait.ts";

const nats = useNats();

async function serve(names: Names, id: string, roles: string[], troubles: Trouble[], clockMs = 0): Promise<void> {
  await serveDiscovery(
    await nats.bus({ user: id }),
    { id, version: "1.0.0", roles, started: "now", statsSubject: names.host(id, "stats") },
    () => ({ started: 0, failed: 0, report: { v: 1, at: Date.now() + clockMs, troubles } }),
  );
}

test("the nodes of this swarm say what troubles them; others, and what is no report, are left out", async () => {
  const names = new Names();
  const trouble = { what: "its disk is full", remedy: "make room" };
  await serve(names, "a", ["dispatcher", "vault"], [trouble]);
  await serve(names, "b", ["agents"], [], 60_000);
  await serve(new Names("other"), "c", ["dispatcher"], [trouble]);
  const hostile = await nats.bus({ user: "hostile" });
  for (const bytes of [
    "",
    "{",
    '{"id":1}',
    '{"id":"../d","metadata":{"roles":""},"endpoints":[{"subject":"x","data":{}}]}',
  ])
    await hostile.subscribe(ALL_STATS, (message) => void hostile.respond(message, new TextEncoder().encode(bytes)));
  const viewer = await nats.bus({ user: "viewer" });
  // They are listened to for a second or so, in which this process, theirs too, can stand still.
  const said = await eventually(async () => {
    const heard = await nodeReports(viewer, names);
    return heard.length < 2 ? undefined : heard;
  }, "both to be heard");
  expect(said).toEqual([
    { host: "a", roles: ["dispatcher", "vault"], troubles: [trouble], clockMs: expect.any(Number) },
    { host: "b", roles: ["agents"], troubles: [], clockMs: expect.any(Number) },
  ]);
  expect(said[1]?.clockMs).toBeGreaterThan(30_000);
});

test("no more answers are read than a swarm can have nodes", async () => {
  const names = new Names("flooded");
  const hostile = await nats.bus({ user: "flooder" });
  await hostile.subscribe(ALL_STATS, (message) => {
    for (let n = 0; n < 1_100; n++) {
      const id = `n${n}`;
      const data = { v: 1, at: 0, troubles: [] };
      const endpoints = [{ name: "x", subject: names.host(id, "stats"), num_requests: 0, num_errors: 0, data }];
      const stats = { id, metadata: { roles: "agents" }, endpoints };
      hostile.respond(message, new TextEncoder().encode(JSON.stringify(stats)));
    }
  });
  const viewer = await nats.bus({ user: "viewer" });
  const said = await eventually(async () => {
    const heard = await nodeReports(viewer, names);
    return heard.length > 900 ? heard : undefined;
  }, "most to be heard");
  expect(said.length).toBeLessThanOrEqual(1_000);
});
