import { TimeoutError } from "@nats-io/transport-node";
import { expect, test, vi } from "vitest";
import { ensureTopology } from "../../src/bus/topology.ts";
import { TOPOLOGY_DEFAULTS } from "../../src/protocols/streams.ts";
import { Names } from "../../src/protocols/subjects.ts";
import { judge } from "../../src/swarm-view/health.ts";
import { observe } from "../../src/swarm-view/observations.ts";
import { heartbeatOf } from "../support/heartbeat.ts";
import { useNats } from "../support/nats.ts";

const nats = useNats();

test("what does not answer is a reason to be degraded, and hides nothing of the rest", async () => {
  const names = new Names();
  const bus = await nats.bus();
  await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
  const ask = bus.native.request.bind(bus.native);
  vi.spyOn(bus.native, "request").mockImplementation((subject, ...rest) =>
    subject.endsWith(`STREAM.INFO.${names.streams.results}`)
      ? Promise.reject(new TimeoutError())
      : ask(subject, ...rest),
  );
  const beats = new Map([["h", heartbeatOf()]]);
  const seen = await observe({ bus, names, url: nats.url }, () => Promise.resolve(beats));
  const state = judge(seen);
  expect(state.health).toBe("degraded");
  expect(state.reasons).toEqual([expect.stringContaining(`stream ${names.streams.results}: `)]);
  expect(state.reasons[0]).toContain("timed out");
  expect(state).toMatchObject({ nodes: 1, agents: 1 });
  expect(state.streams.map(({ name }) => name)).toContain(names.streams.tasks);
});

test("that there is no swarm is told as such", async () => {
  const names = new Names("nobody");
  await expect(observe({ bus: await nats.bus(), names, url: nats.url })).rejects.toMatchObject({ code: "NO_SWARM" });
});
