import { type BrokerPort, brokeredFetch } from "../../src/actors/agent/vault-fetch.ts";
import { Calls, type CallsOptions } from "../../src/actors/vault/calls/calls.ts";
import type { CallOutcome, OpenCall } from "../../src/actors/vault/calls/open-call.ts";
import { systemClock } from "../../src/protocols/clock.ts";
import { NO_USAGE, type ResolvedKeySettings, type Usage } from "../../src/protocols/vault/keys.ts";
import { type CallReply, type CallRequest, OPERATIONS } from "../../src/protocols/vault/operations.ts";
import { RecordingLogger } from "./recording-logger.ts";

export const CANARY = "sk-canary-4f1d0c7b9a/+5e";

/** Both ends of brokered calls, joined in the process, and what each of them heard. */
export class Brokered {
  readonly logger = new RecordingLogger();
  readonly calls: Calls;
  readonly settings: ResolvedKeySettings;
  /** In the order in which they ended. */
  readonly outcomes: CallOutcome[] = [];
  /** What the agent was told that its calls used. */
  readonly usages: Usage[] = [];
  /** What the meters were given, by call in the order of their heads. */
  readonly metered: Buffer[][] = [];
  readonly requests: CallRequest[] = [];
  readonly run = new AbortController();
  readonly owner = "worker-1";
  secret = Buffer.from(CANARY);
  expiresInMs = 600_000;
  /** What recording the end of a call does. */
  onEnd: (outcome: CallOutcome) => Promise<void> = async () => undefined;
  readonly #clock: CallsOptions["clock"];

  constructor(
    origins: readonly string[],
    settings: Partial<ResolvedKeySettings> = {},
    options: Partial<CallsOptions> = {},
  ) {
    this.#clock = options.clock ?? systemClock;
    this.calls = new Calls({ clock: this.#clock, logger: this.logger, ...options });
    this.settings = {
      header: "authorization",
      scheme: "Bearer ",
      origins: [...origins],
      allowPrivate: true,
      lease: true,
      budgets: [],
      ...settings,
    };
  }

  /** As the vault does it: by the table of operations. */
  readonly port: BrokerPort = async (asked) => {
    const request = OPERATIONS.call.args.parse(asked);
    this.requests.push(request);
    return OPERATIONS.call.reply.parse(await this.#answer(request));
  };

  /** `fetch` as an agent has it. */
  readonly fetch = (input: string | URL | Request, init?: RequestInit, port = this.port): Promise<Response> =>
    brokeredFetch(
      port,
      {
        provider: "test",
        grant: new Uint8Array([1]),
        signal: this.run.signal,
        onUsage: (usage) => this.usages.push(usage),
      },
      input,
      init,
    );

  /** Opens a call as the vault would, for tests of that end alone. */
  open(request: Partial<OpenCall> & Pick<OpenCall, "url">): string {
    return this.calls.open({
      owner: this.owner,
      method: "GET",
      headers: [],
      more: false,
      settings: this.settings,
      secret: this.secret,
      expiresAt: this.#clock.now() + this.expiresInMs,
      onHead: () => {
        const pieces: Buffer[] = [];
        this.metered.push(pieces);
        return { push: (piece) => pieces.push(Buffer.from(piece)) };
      },
      onEnd: async (outcome) => {
        this.outcomes.push(outcome);
        await this.onEnd(outcome);
        const { bytesSent, bytesReceived, error } = outcome;
        return { ...NO_USAGE, calls: 1, errors: error === undefined ? 0 : 1, bytesSent, bytesReceived };
      },
      ...request,
    });
  }

  /** Reads an answer to its end, or to its error. */
  async readAll(call: string): Promise<{ head: CallReply["head"]; body: Buffer; usage: Usage | undefined }> {
    let head: CallReply["head"];
    const pieces: Uint8Array[] = [];
    for (let seq = 1; ; seq++) {
      const reply = await this.calls.read(this.owner, call, seq);
      head ??= reply.head;
      if (reply.data !== undefined) pieces.push(reply.data);
      if (reply.done === true) return { head, body: Buffer.concat(pieces), usage: reply.usage };
    }
  }

  async #answer(request: CallRequest): Promise<CallReply> {
    const { calls, owner } = this;
    switch (request.action) {
      case "open": {
        const { method, url, headers, body, more = false } = request;
        return { call: this.open({ method, url, headers, ...(body !== undefined && { body }), more }) };
      }
      case "write":
        return calls.write(owner, request.call, request.seq, request.data, request.more);
      case "read":
        return calls.read(owner, request.call, request.seq);
      case "cancel":
        return calls.cancel(owner, request.call);
    }
  }
}
