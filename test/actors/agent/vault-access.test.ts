/** `ctx.vault` of agents that run on a real bus, against an actor `vault` that the test directs. */
import { inspect } from "node:util";
import { createUser } from "@nats-io/nkeys";
import { describe, expect, it, onTestFinished } from "vitest";
import { ActorHost as AgentHost } from "../../../src/actors/agent/actor-host.ts";
import type { AgentDefinition, TaskContext } from "../../../src/actors/agent/definition.ts";
import type { Heartbeat } from "../../../src/actors/agent/heartbeat.ts";
import { LoadBoard } from "../../../src/actors/agent/load-board.ts";
import { agentLogic } from "../../../src/actors/agent/machine.ts";
import { resolveAgent } from "../../../src/actors/agent/resolve.ts";
import type { VaultLease } from "../../../src/actors/agent/task-vault.ts";
import { WorkTable } from "../../../src/actors/agent/work-table.ts";
import { AttemptsLog } from "../../../src/bus/attempts.ts";
import type { Checkpoints } from "../../../src/bus/checkpoints.ts";
import { encode } from "../../../src/bus/codec/codec.ts";
import { decodeMirrored } from "../../../src/bus/codec/task.ts";
import { KvBucket } from "../../../src/bus/kv.ts";
import { Publisher } from "../../../src/bus/publisher.ts";
import { ResultStore } from "../../../src/bus/results.ts";
import { signerOf } from "../../../src/bus/sealed/signing.ts";
import { type Ask, VaultCaller } from "../../../src/bus/sealed/vault-caller.ts";
import { TaskObjects } from "../../../src/bus/task-objects.ts";
import { systemClock } from "../../../src/protocols/clock.ts";
import { VgasError } from "../../../src/protocols/errors.ts";
import { silentLogger } from "../../../src/protocols/logger.ts";
import type { TaskResult } from "../../../src/protocols/result.ts";
import { NO_USAGE } from "../../../src/protocols/vault/keys.ts";
import type { CallReply, CallRequest, OperationArgs } from "../../../src/protocols/vault/operations.ts";
import { ActorHost } from "../../support/actor-host.ts";
import { FakeVault } from "../../support/fake-vault.ts";
import { useNats } from "../../support/nats.ts";
import { until } from "../../support/wait.ts";

const nats = useNats();
const GRANT = Buffer.from("what the dispatcher signed");
let tests = 0;

interface SetupOptions {
  readonly providers?: readonly string[];
  /** The node has no credential. */
  readonly anonymous?: boolean;
  /** Nobody owns the name `vault` at first. */
  readonly noVault?: boolean;
}

/** A host with one agent that runs `run`, and a vault on another. */
class Setup {
  readonly vault: FakeVault;
  readonly #host: AgentHost;
  readonly #actors: ActorHost;
  readonly #id: string;
  #asks = 0;
  /** Called before each message to the vault, with how many there were. */
  onAsk: (before: number) => Promise<void> | void = () => undefined;

  private constructor(vault: FakeVault, actors: ActorHost, id: string, make: (ask: Ask) => AgentHost) {
    this.vault = vault;
    this.#actors = actors;
    this.#id = id;
    this.#host = make(async (message, options) => {
      await this.onAsk(this.#asks++);
      return await actors.system.ask("vault", message, options);
    });
  }

  static async start(run: AgentDefinition["run"], options: SetupOptions = {}): Promise<Setup> {
    const { providers = ["openai"], anonymous = false, noVault = false } = options;
    const id = `nvault${tests++}`;
    const seed = createUser().getSeed();
    const signer = signerOf(id, seed);
    const vault = new FakeVault(new Map([[id, signer.publicKey]]));
    const actors = await ActorHost.start(nats, id);
    onTestFinished(() => actors.system.stop());
    const { bus, names } = actors;
    const publisher = new Publisher(bus);
    const shared = { bus, publisher, names, clock: systemClock, random: Math.random, logger: silentLogger };
    const heartbeat = {
      board: new LoadBoard(1),
      work: new WorkTable(() => undefined),
      start: () => Promise.resolve(),
      stop: () => Promise.resolve(),
      beatNow: () => undefined,
    } as unknown as Heartbeat;
    const setup = new Setup(vault, actors, id, (ask) => {
      return new AgentHost({
        ...shared,
        hostId: id,
        run: "r1",
        agents: [resolveAgent({ kind: "ask", slots: 100, providers, run }, { pool: "default", slots: 1 }, "test")],
        results: new ResultStore(shared),
        objects: new TaskObjects(shared),
        checkpoints: undefined as unknown as Checkpoints,
        attempts: new AttemptsLog(new KvBucket(bus, publisher, names.buckets.attempts), names),
        heartbeat,
        vault: anonymous ? undefined : new VaultCaller({ ask, signer, clock: systemClock }),
        spawn: (agent) => actors.system.spawnLocal(`agent-${agent}`, agentLogic),
      });
    });
    if (!noVault) await setup.spawnVault();
    return setup;
  }

  /** Keeps every payload that crosses the bus from now on. What it returns gives all that has crossed it by then. */
  async listen(): Promise<() => Promise<readonly Buffer[]>> {
    const seen: Buffer[] = [];
    const wire = await nats.bus({ user: "wire" });
    await wire.subscribe(">", ({ data }) => void seen.push(Buffer.from(data)));
    onTestFinished(() => wire.close());
    return async () => {
      // It comes over another connection than the result of the task.
      await wire.flush();
      return seen;
    };
  }

  /** On a host of its own, so that everything that it is told and says crosses the bus. */
  async spawnVault(): Promise<void> {
    const owner = await ActorHost.start(nats, `${this.#id}-zero`);
    onTestFinished(() => owner.system.stop());
    await owner.system.spawn("vault", this.vault.definition());
  }

  /** Runs one task and resolves with its result. */
  async run(
    options: { readonly grant?: Uint8Array | undefined; readonly timeoutMs?: number } = { grant: GRANT },
  ): Promise<TaskResult> {
    const { bus, names } = this.#actors;
    const task = `t${tests++}`;
    const arrived = new Promise<TaskResult>((resolve) => {
      void bus.subscribe(names.result("default", task), ({ data }) =>
        resolve(decodeMirrored(data).value as TaskResult),
      );
    });
    await bus.flush();
    const { grant, timeoutMs = 30_000 } = options;
    const item = [1, 0, 1, 1, task, 0, timeoutMs, 1, "", encode({ input: null })] as const;
    this.#host.burst({
      v: 1,
      from: "d",
      burst: tests++,
      run: "r1",
      pool: "default",
      kind: "ask",
      base: 0,
      items: [grant === undefined ? [...item] : [...item, grant]],
    });
    return await arrived;
  }
}

function refusing(
  code: "VAULT_SEALED" | "TIMEOUT" | "BUDGET_EXCEEDED" | "UNDELIVERABLE",
  times: number,
): FakeVault["refuse"] {
  return (_op, before) => (before < times ? new VgasError(code, "not now") : undefined);
}

const USED_BY_A_LEASE = (({ costNanoUsd: _, ...counters }) => ({ ...counters, leases: 1, costUsd: 0 }))(NO_USAGE);

describe("ctx.vault.lease", () => {
  it("gives the key to the agent, and nothing readable to the bus", async () => {
    let shown = "";
    const setup = await Setup.start(async (_, ctx) => {
      const lease = await ctx.vault.lease("openai");
      shown = inspect(lease, { depth: 9, showHidden: true }) + JSON.stringify(lease) + String(lease);
      const { provider, key, version, expiresAt } = lease;
      return {
        provider,
        key,
        version,
        left: expiresAt > Date.now(),
        hash: lease.use((bytes) => bytes.length),
        same: lease.text() === setup.vault.key,
      };
    });
    const heard = await setup.listen();
    const result = await setup.run();
    const seen = await heard();
    const length = setup.vault.key.length;
    expect(result.output).toEqual({
      provider: "openai",
      key: "main",
      version: 3,
      left: true,
      hash: length,
      same: true,
    });
    expect(result.usage).toEqual(USED_BY_A_LEASE);
    expect(setup.vault.asked).toMatchObject([{ op: "lease", args: { provider: "openai" } }]);
    const grants = setup.vault.asked.map(({ args }) => Buffer.from((args as OperationArgs<"lease">).grant));
    expect(grants).toEqual([GRANT]);
    expect(shown).not.toContain("canary");
    // What is sealed did cross: the grant beside it is readable.
    expect(seen.some((data) => data.includes(GRANT))).toBe(true);
    for (const data of seen) expect(data.includes("canary")).toBe(false);
  });

  it("ends with the attempt: what is kept of it afterwards is void", async () => {
    let kept: { readonly ctx: TaskContext; readonly lease: VaultLease } | undefined;
    const setup = await Setup.start(async (_, ctx) => {
      kept = { ctx, lease: await ctx.vault.lease("openai") };
    });
    await setup.run();
    expect(() => kept?.lease.text()).toThrow(
      expect.objectContaining({ code: "GRANT_VOID", message: expect.stringContaining("has ended") }),
    );
    await expect(kept?.ctx.vault.lease("openai")).rejects.toMatchObject({ code: "GRANT_VOID" });
    await expect(kept?.ctx.vault.fetch("openai", "https://x")).rejects.toMatchObject({ code: "GRANT_VOID" });
    expect(setup.vault.asked).toHaveLength(1);
  });

  it("is void for a context that is first asked for its vault after the end", async () => {
    let kept: TaskContext | undefined;
    const setup = await Setup.start((_, ctx) => {
      kept = ctx;
    });
    expect((await setup.run()).usage).toBeUndefined();
    await expect(kept?.vault.lease("openai")).rejects.toMatchObject({ code: "GRANT_VOID" });
    expect(setup.vault.asked).toHaveLength(0);
  });

  it("counts every lease of the run, also of one that fails", async () => {
    const setup = await Setup.start(async (_, ctx) => {
      await ctx.vault.lease("openai");
      (await ctx.vault.lease("openai")).release();
      throw new Error("after that");
    });
    const result = await setup.run();
    expect(result).toMatchObject({ status: "failed", usage: { leases: 2, costUsd: 0 } });
  });

  it("is refused for a provider that the agent does not declare, saying what to do", async () => {
    const setup = await Setup.start((_, ctx) => ctx.vault.lease("anthropic"));
    const { error, usage } = await setup.run();
    expect(error).toMatchObject({ code: "GRANT_VOID", message: expect.stringContaining('providers: ["anthropic"]') });
    expect(usage).toBeUndefined();
    expect(setup.vault.asked).toHaveLength(0);
  });

  it("is refused without a grant", async () => {
    const setup = await Setup.start((_, ctx) => ctx.vault.lease("openai"));
    const { error } = await setup.run({});
    expect(error).toMatchObject({ code: "GRANT_VOID", message: expect.stringContaining("without a grant") });
  });

  it("is refused on a node without a credential", async () => {
    const setup = await Setup.start((_, ctx) => ctx.vault.lease("openai"), { anonymous: true });
    expect((await setup.run()).error).toMatchObject({ code: "CONFIG" });
  });

  it("waits for a vault that is sealed", async () => {
    const setup = await Setup.start(async (_, ctx) => (await ctx.vault.lease("openai")).version);
    setup.vault.refuse = refusing("VAULT_SEALED", 3);
    expect((await setup.run()).output).toBe(3);
    expect(setup.vault.asked).toHaveLength(4);
  });

  it("waits for a vault that is not there yet", async () => {
    const setup = await Setup.start(async (_, ctx) => (await ctx.vault.lease("openai", { waitMs: 60_000 })).version, {
      noVault: true,
    });
    setup.onAsk = (before) => (before === 2 ? setup.spawnVault() : undefined);
    expect((await setup.run()).output).toBe(3);
  });

  it("fails with the vault's own error after waitMs", async () => {
    let caught: unknown;
    const setup = await Setup.start(async (_, ctx) => {
      caught = await ctx.vault.lease("openai", { waitMs: 0 }).catch((error: unknown) => error);
    });
    setup.vault.refuse = refusing("VAULT_SEALED", 1);
    await setup.run();
    expect(caught).toMatchObject({ code: "VAULT_SEALED", retryable: true });
    expect(setup.vault.asked).toHaveLength(1);
  });

  it("fails at once for what waiting does not help", async () => {
    const setup = await Setup.start((_, ctx) => ctx.vault.lease("openai"));
    setup.vault.refuse = refusing("BUDGET_EXCEEDED", 9);
    expect((await setup.run()).error).toMatchObject({ code: "BUDGET_EXCEEDED" });
    expect(setup.vault.asked).toHaveLength(1);
  });

  it("is over when it expires, and when it is released", async () => {
    const setup = await Setup.start(async (_, ctx) => {
      const released = await ctx.vault.lease("openai");
      released.release();
      released.release();
      setup.vault.expiresAt = () => Date.now() + 50;
      const expiring = await ctx.vault.lease("openai");
      const kept = expiring.use((key) => key);
      // Until it expires the bytes are those of the key.
      await until(() => kept.every((byte) => byte === 0));
      return [whyOf(released), whyOf(expiring)];
    });
    expect((await setup.run()).output).toEqual([
      "GRANT_VOID: the lease of openai/main is over: it was released",
      "GRANT_VOID: the lease of openai/main is over: it has expired",
    ]);
  });

  it("ends a wait for the vault with the attempt, with its reason", async () => {
    let settle: (error: unknown) => void = () => undefined;
    const caught = new Promise<unknown>((resolve) => {
      settle = resolve;
    });
    const setup = await Setup.start(async (_, ctx) => {
      await ctx.vault.lease("openai", { waitMs: 3_600_000 }).catch(settle);
    });
    setup.vault.refuse = refusing("VAULT_SEALED", Number.POSITIVE_INFINITY);
    const result = await setup.run({ grant: GRANT, timeoutMs: 200 });
    expect(result.error).toMatchObject({ code: "TIMEOUT" });
    expect(await caught).toMatchObject({ code: "TIMEOUT", message: "the attempt timed out after 200 ms" });
  });
});

/** A provider that answers "hello" in one piece. */
function answering(request: CallRequest): CallReply {
  const data = Buffer.from("hello");
  const usage = { ...NO_USAGE, calls: 1, bytesReceived: 5, inputTokens: 12, outputTokens: 3, costNanoUsd: 1_500_000 };
  switch (request.action) {
    case "open":
      return { call: "c1" };
    case "read":
      return {
        head: { status: 200, statusText: "OK", headers: [["content-type", "text/plain"]] },
        data,
        done: true,
        usage,
      };
    default:
      return {};
  }
}

describe("ctx.vault.fetch", () => {
  const get = async (ctx: TaskContext): Promise<unknown> => {
    const response = await ctx.vault.fetch("openai", "https://api.openai.com/v1/models");
    return { status: response.status, text: await response.text() };
  };

  it("answers as fetch does, and the result tells what its calls used", async () => {
    const setup = await Setup.start(async (_, ctx) => {
      await get(ctx);
      return await get(ctx);
    });
    setup.vault.call = answering;
    const result = await setup.run();
    expect(result.output).toEqual({ status: 200, text: "hello" });
    const tokens = { inputTokens: 24, outputTokens: 6, cachedTokens: 0 };
    expect(result.usage).toEqual({
      leases: 0,
      calls: 2,
      errors: 0,
      bytesSent: 0,
      bytesReceived: 10,
      ...tokens,
      costUsd: 0.003,
    });
    const [opened] = setup.vault.asked;
    expect(opened).toMatchObject({ op: "call", args: { action: "open", provider: "openai", method: "GET" } });
  });

  it("opens a call again that a sealed vault refused", async () => {
    const setup = await Setup.start((_, ctx) => get(ctx));
    setup.vault.call = answering;
    setup.vault.refuse = refusing("VAULT_SEALED", 2);
    expect((await setup.run()).output).toEqual({ status: 200, text: "hello" });
    const actions = setup.vault.asked.map(({ args }) => (args as CallRequest).action);
    expect(actions.filter((action) => action === "open")).toHaveLength(3);
  });

  it("does not open a call again that may have been made", async () => {
    const setup = await Setup.start((_, ctx) => get(ctx));
    setup.vault.call = answering;
    setup.vault.refuse = refusing("TIMEOUT", 1);
    expect((await setup.run()).error).toMatchObject({ code: "TIMEOUT" });
    expect(setup.vault.asked.filter(({ args }) => (args as CallRequest).action === "open")).toHaveLength(1);
  });

  it("breaks calls off when the attempt ends, and cancels them at the vault", async () => {
    let told: (args: CallRequest) => void = () => undefined;
    const cancelled = new Promise<CallRequest>((resolve) => {
      told = resolve;
    });
    let kept: Response | undefined;
    const setup = await Setup.start(async (_, ctx) => {
      kept = await ctx.vault.fetch("openai", "https://api.openai.com/v1/stream");
    });
    setup.vault.call = (request) => {
      if (request.action === "cancel") told(request);
      // An answer of which there is always more.
      return request.action === "read" ? { ...answering(request), done: false } : answering(request);
    };
    await setup.run();
    await expect(kept?.text()).rejects.toMatchObject({ code: "GRANT_VOID" });
    expect(await cancelled).toEqual({ action: "cancel", call: "c1" });
  });
});

function whyOf(lease: VaultLease): string {
  try {
    return lease.text();
  } catch (error) {
    return error instanceof VgasError ? `${error.code}: ${error.message}` : String(error);
  }
}
