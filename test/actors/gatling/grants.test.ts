import { createUser } from "@nats-io/nkeys";
import { describe, expect, it } from "vitest";
import { Bursts } from "../../../src/actors/gatling/bursts.ts";
import { HostView } from "../../../src/actors/gatling/fleet.ts";
import { Grants } from "../../../src/actors/gatling/grants.ts";
import { type Assigned, Ledger } from "../../../src/actors/gatling/ledger.ts";
import type { TaskInHand } from "../../../src/actors/gatling/task-in-hand.ts";
import type { Bus } from "../../../src/bus/bus.ts";
import { decode, encode } from "../../../src/bus/codec/codec.ts";
import { type Signer, signerOf, verifySignature } from "../../../src/bus/sealed/signing.ts";
import { type AgentGroup, type Burst, burst as burstSchema } from "../../../src/protocols/host-messages.ts";
import { MAX_BURST_BYTES } from "../../../src/protocols/limits.ts";
import { Names } from "../../../src/protocols/subjects.ts";
import { GRANT_DOMAIN, type Grant, grant, signedGrant } from "../../../src/protocols/vault/messages.ts";
import { heartbeatOf } from "../../support/heartbeat.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const LANE = { pool: "default", kind: "ask" };
const PLAIN: AgentGroup = { pool: "default", kinds: ["ask"], first: 0, count: 2, slots: 4 };
const WITH_KEYS: AgentGroup = { ...PLAIN, first: 2, providers: ["openai", "anthropic"] };

function hostOf(groups: readonly AgentGroup[]): HostView {
  return new HostView(heartbeatOf({ host: "nodeone", groups: [...groups], running: [] }), 0);
}

function task(id: string, attempt = 1, body: Uint8Array = new Uint8Array([0x80])): TaskInHand {
  const limits = {
    timeoutMs: 60_000,
    maxAttempts: 3,
    expiresAt: undefined,
    replyTo: undefined,
    traceparent: undefined,
  };
  const origin = {
    priority: "normal" as const,
    lane: "default=ask",
    generation: 0,
    sequence: 1,
    submittedAt: 1_000,
    ack: "ack",
    array: undefined,
    element: undefined,
    revision: 0,
    now: undefined,
  };
  return { id, attempt, body, ...limits, ...origin };
}

/** A dispatcher's way to a host of its own process: what it hands over is kept. */
class Setup {
  readonly clock = new ManualClock();
  readonly given: Burst[] = [];
  readonly signer: Signer;
  signatures = 0;
  readonly #ledger = new Ledger();
  readonly #bursts: Bursts;

  constructor({ signs }: { readonly signs: boolean }) {
    const key = signerOf("ndealer", createUser().getSeed());
    this.signer = {
      ...key,
      sign: (data) => {
        this.signatures++;
        return key.sign(data);
      },
    };
    this.#bursts = new Bursts({
      bus: {} as Bus,
      names: new Names(),
      clock: this.clock,
      dispatcherId: "d",
      local: {
        hostId: "nodeone",
        burst: (burst) => {
          this.given.push(burst);
          return { v: 1, burst: burst.burst, refused: [], free: [] };
        },
      },
      grants: signs ? new Grants(this.signer, this.clock) : undefined,
      onReceipt: () => undefined,
      onNobody: () => undefined,
    });
  }

  send(host: HostView, tasks: readonly { readonly task: TaskInHand; readonly agent: number }[]): void {
    const assigned: Assigned[] = tasks.map(({ task: each, agent }) => {
      const view = host.agents[agent];
      if (!view) throw new Error(`no agent ${agent}`);
      return this.#ledger.add(each, view, 1, 0);
    });
    this.#bursts.send(LANE, 0, host, assigned);
  }

  /** The grants of everything handed over, by the n-th item; undefined where there is none. */
  get grants(): readonly (Uint8Array | null | undefined)[] {
    // Through the bytes of the wire, as another host reads them.
    return this.given.flatMap((burst) => burstSchema.parse(decode(encode(burst))).items.map((item) => item[10]));
  }

  read(bytes: Uint8Array | null | undefined): Grant {
    const { user, body, signature } = signedGrant.parse(decode(bytes ?? new Uint8Array(0)));
    expect(user).toBe("ndealer");
    expect(verifySignature(this.signer.publicKey, Buffer.concat([Buffer.from(GRANT_DOMAIN), body]), signature)).toBe(
      true,
    );
    return grant.parse(decode(body));
  }
}

describe("grants", () => {
  it("vouch for the attempt, its agent and the providers that this declares, until its deadline and the grace", () => {
    const setup = new Setup({ signs: true });
    setup.send(hostOf([PLAIN, WITH_KEYS]), [{ task: task("t1", 2), agent: 3 }]);
    expect(setup.read(setup.grants[0])).toEqual({
      v: 1,
      pool: "default",
      kind: "ask",
      task: "t1",
      submittedAt: 1_000,
      attempt: 2,
      host: "nodeone",
      agent: "nodeone-3",
      providers: ["openai", "anthropic"],
      expiresAt: setup.clock.now() + 62_000,
    });
  });

  it("are not given to agents without providers, and nothing is signed for these", () => {
    const setup = new Setup({ signs: true });
    const host = hostOf([PLAIN, WITH_KEYS]);
    setup.send(host, [
      { task: task("plain"), agent: 0 },
      { task: task("keyed"), agent: 2 },
      { task: task("plain2"), agent: 1 },
    ]);
    expect(setup.grants.map((each) => each !== undefined)).toEqual([false, true, false]);
    expect(setup.signatures).toBe(1);
    expect(setup.given[0]?.items.map((item) => item.length)).toEqual([10, 11, 10]);
    setup.send(hostOf([PLAIN]), [{ task: task("plain3"), agent: 0 }]);
    expect(setup.given[1]?.items[0]).toHaveLength(10);
    expect(setup.signatures).toBe(1);
  });

  it("differ from attempt to attempt", () => {
    const setup = new Setup({ signs: true });
    const host = hostOf([WITH_KEYS]);
    setup.send(host, [{ task: task("t", 1), agent: 2 }]);
    setup.send(host, [{ task: task("t", 2), agent: 2 }]);
    const [first, second] = setup.grants.map((bytes) => setup.read(bytes));
    expect([first?.attempt, second?.attempt]).toEqual([1, 2]);
  });

  it("are given by nobody who has no credential to sign with", () => {
    const setup = new Setup({ signs: false });
    setup.send(hostOf([WITH_KEYS]), [{ task: task("t"), agent: 2 }]);
    expect(setup.grants).toEqual([undefined]);
  });

  it("count in the size of a burst: hundreds of the largest are split as other bytes are", () => {
    const setup = new Setup({ signs: true });
    const providers = Array.from({ length: 64 }, (_, i) => String(i).padStart(64, "p"));
    const host = hostOf([{ ...WITH_KEYS, providers }]);
    setup.send(
      host,
      Array.from({ length: 300 }, (_, i) => ({ task: task(`t${i}`), agent: 2 })),
    );
    expect(setup.given.length).toBeGreaterThan(1);
    for (const burst of setup.given) expect(encode(burst).length).toBeLessThanOrEqual(MAX_BURST_BYTES);
    expect(setup.grants.map((bytes) => setup.read(bytes).task)).toEqual(Array.from({ length: 300 }, (_, i) => `t${i}`));
  });
});
