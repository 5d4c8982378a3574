import { describe, expect, it } from "vitest";
import { ActorHost } from "../../../src/actors/agent/actor-host.ts";
import type { AgentDefinition } from "../../../src/actors/agent/definition.ts";
import { resolveAgent } from "../../../src/actors/agent/resolve.ts";
import { agentGroup } from "../../../src/protocols/host-messages.ts";

const run = (): null => null;
const resolve = (more: Partial<Record<keyof AgentDefinition, unknown>> & Readonly<Record<string, unknown>>) =>
  resolveAgent({ kind: "ask", run, ...more }, { pool: "default", slots: 16 }, "agent 0");

describe("the providers of an agent", () => {
  it("are none unless it declares some, up to 64 different tokens", () => {
    expect(resolve({}).providers).toEqual([]);
    expect(resolve({ providers: ["openai", "anthropic"] }).providers).toEqual(["openai", "anthropic"]);
    const many = Array.from({ length: 64 }, (_, i) => `p${i}`);
    expect(resolve({ providers: many }).providers).toEqual(many);
  });

  it.each<[string, unknown, RegExp]>([
    ["more than 64", Array.from({ length: 65 }, (_, i) => `p${i}`), /at most 64/],
    ["one that is no array", "openai", /providers must be an array.*"openai"/],
    ["what is no token", ["open.ai"], /a provider must be a token.*"open\.ai"/],
    ["what is no text", [7], /a provider must be a token/],
    ["one twice", ["openai", "openai"], /must differ/],
  ])("are refused: %s", (_, providers, message) => {
    expect(() => resolve({ providers })).toThrow(
      expect.objectContaining({ code: "CONFIG", message: expect.stringMatching(message) }),
    );
  });

  it("are told to the swarm by the agents that have some, and by these only", () => {
    const groups = ActorHost.groups([resolve({}), resolve({ providers: ["openai"], instances: 2 })]);
    const [plain, keyed] = groups.map((group) => agentGroup.parse(group));
    expect(plain).not.toHaveProperty("providers");
    expect(keyed).toEqual({ pool: "default", kinds: ["ask"], first: 1, count: 2, slots: 16, providers: ["openai"] });
  });
});

describe("the limits of an agent's kinds", () => {
  it("are told to the swarm, and are none unless it declares some", () => {
    const limits = { concurrency: 1_000_000, rate: { tasks: 5, perMs: 86_400_000 } };
    const [plain, limited] = ActorHost.groups([resolve({}), resolve({ limits })]).map((group) =>
      agentGroup.parse(group),
    );
    expect(plain).not.toHaveProperty("limits");
    expect(limited?.limits).toEqual(limits);
  });

  it.each<[string, unknown, RegExp]>([
    ["what is no object", 3, /limits must be an object of concurrency, rate, got 3/],
    ["none in an object", {}, /limits must have concurrency, rate or both/],
    ["another field", { concurency: 1 }, /limits has only the fields concurrency, rate, got "concurency"/],
    ["no tasks at once", { concurrency: 0 }, /limits\.concurrency must be an integer from 1 to 1000000, got 0/],
    ["half a rate", { rate: { tasks: 1 } }, /limits\.rate\.perMs is missing: an integer from 1 to 86400000/],
    ["a rate over more than a day", { rate: { tasks: 1, perMs: 86_400_001 } }, /limits\.rate\.perMs must be/],
    ["a rate that is no object", { rate: 5 }, /limits\.rate must be an object of tasks, perMs, got 5/],
  ])("are refused: %s", (_, limits, message) => {
    expect(() => resolve({ limits })).toThrow(
      expect.objectContaining({ code: "CONFIG", message: expect.stringMatching(message) }),
    );
  });
});

describe("the fields of a definition", () => {
  it.each([
    ["instnces", "instances"],
    ["Instances", "instances"],
    ["provider", "providers"],
    ["slot", "slots"],
    ["poool", "pool"],
  ])("%s is taken for a mistake for %s", (name, meant) => {
    expect(() => resolve({ [name]: 1 })).toThrow(
      expect.objectContaining({ code: "CONFIG", message: expect.stringContaining(`did you mean "${meant}"`) }),
    );
  });

  it("may be others of the user's own", () => {
    expect(resolve({ cache: new Map(), runs: 0, poolSize: 4 }).instances).toBe(1);
  });
});
