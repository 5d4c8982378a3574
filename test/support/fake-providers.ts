import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What the fake providers say that each call used. Of Anthropic's, `input` is without what was cached. */
export const FAKE_USAGE = {
  openai: { input: 23, cached: 8, output: 5 },
  anthropic: { input: 17, cacheCreation: 4, cacheRead: 6, output: 9 },
} as const;

/** What they answer, in the pieces in which they stream it. */
export const FAKE_WORDS = ["Grüße", " from", " a", " fake."] as const;
export const FAKE_TEXT = FAKE_WORDS.join("");

export interface RecordedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/**
 * A server that answers as OpenAI (chat completions, responses, embeddings) and Anthropic (messages) do, plain and streaming, with
 * their usage fields. It answers whoever asks with any key, and keeps what it was asked.
 */
export class FakeProviders {
  readonly requests: RecordedRequest[] = [];
  readonly #server: Server;
  /** Answers that are given before the usual ones, first come first served. */
  readonly #refusals: { status: number; headers: Record<string, string> }[] = [];

  private constructor() {
    this.#server = createServer((request, response) => {
      void this.#handle(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
  }

  static async start(): Promise<FakeProviders> {
    const fake = new FakeProviders();
    fake.#server.listen(0, "127.0.0.1");
    await once(fake.#server, "listening");
    return fake;
  }

  /** `http://127.0.0.1:port`: Anthropic's base URL; OpenAI's has `/v1` after it. */
  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The next call is refused with this status. */
  refuseNext(status: number, headers: Record<string, string> = {}): void {
    this.#refusals.push({ status, headers });
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const body = Buffer.concat(pieces).toString("utf8");
    const path = request.url ?? "";
    this.requests.push({ method: request.method ?? "", path, headers: request.headers, body });
    const refusal = this.#refusals.shift();
    if (refusal !== undefined) {
      const { status, headers } = refusal;
      const error = { type: "error", error: { type: "refused", message: `refused with ${status}` } };
      response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(error));
      return;
    }
    const asked = body === "" ? {} : (JSON.parse(body) as Asked);
    const answer = ANSWERS[path];
    if (answer === undefined) response.writeHead(404).end();
    else if (asked.stream === true) await stream(response, answer.events(asked));
    else response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer.whole(asked)));
  }
}

interface Asked {
  readonly model?: string;
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean };
}

interface Event {
  readonly event?: string;
  readonly data: unknown;
}

/** Event by event: each goes out by itself, cut in two in the middle of its bytes. */
async function stream(response: ServerResponse, events: readonly Event[]): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  for (const { event, data } of events) {
    const text = typeof data === "string" ? data : JSON.stringify(data);
    const bytes = Buffer.from(`${event === undefined ? "" : `event: ${event}\n`}data: ${text}\n\n`);
    const middle = bytes.length >> 1;
    for (const part of [bytes.subarray(0, middle), bytes.subarray(middle)])
      await new Promise<void>((resolve) => response.write(part, () => setImmediate(resolve)));
  }
  response.end();
}

const { openai, anthropic } = FAKE_USAGE;

const CHAT_USAGE = {
  prompt_tokens: openai.input,
  completion_tokens: openai.output,
  total_tokens: openai.input + openai.output,
  prompt_tokens_details: { cached_tokens: openai.cached },
};

const RESPONSES_USAGE = {
  input_tokens: openai.input,
  input_tokens_details: { cached_tokens: openai.cached },
  output_tokens: openai.output,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: openai.input + openai.output,
};

const MESSAGES_USAGE = {
  input_tokens: anthropic.input,
  cache_creation_input_tokens: anthropic.cacheCreation,
  cache_read_input_tokens: anthropic.cacheRead,
  output_tokens: anthropic.output,
};

interface FakeAnswer {
  whole(asked: Asked): object;
  events(asked: Asked): readonly Event[];
}

const chat: FakeAnswer = {
  whole: ({ model }) => ({
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 1_700_000_000,
    model,
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: FAKE_TEXT, refusal: null },
        finish_reason: "stop",
        logprobs: null,
      },
    ],
    usage: CHAT_USAGE,
  }),
  events: ({ model, stream_options }) => {
    const chunk = (choices: unknown[], usage?: object) => ({
      data: {
        id: "chatcmpl-1",
        object: "chat.completion.chunk",
        created: 1_700_000_000,
        model,
        choices,
        ...(usage && { usage }),
      },
    });
    const delta = (content: object, reason: string | null) =>
      chunk([{ index: 0, delta: content, finish_reason: reason }]);
    return [
      delta({ role: "assistant", content: "" }, null),
      ...FAKE_WORDS.map((content) => delta({ content }, null)),
      delta({}, "stop"),
      ...(stream_options?.include_usage === true ? [chunk([], CHAT_USAGE)] : []),
      { data: "[DONE]" },
    ];
  },
};

const responses: FakeAnswer = {
  whole: ({ model }) => response(model, "completed"),
  events: ({ model }) => {
    let sequence_number = 0;
    const event = (type: string, fields: object) => ({
      event: type,
      data: { type, sequence_number: sequence_number++, ...fields },
    });
    const place = { item_id: "msg_1", output_index: 0, content_index: 0 };
    return [
      event("response.created", { response: response(model, "in_progress") }),
      event("response.output_item.added", { output_index: 0, item: item("in_progress", "") }),
      event("response.content_part.added", { ...place, part: part("") }),
      ...FAKE_WORDS.map((delta) => event("response.output_text.delta", { ...place, delta, logprobs: [] })),
      event("response.output_text.done", { ...place, text: FAKE_TEXT, logprobs: [] }),
      event("response.content_part.done", { ...place, part: part(FAKE_TEXT) }),
      event("response.output_item.done", { output_index: 0, item: item("completed", FAKE_TEXT) }),
      event("response.completed", { response: response(model, "completed") }),
    ];
  },
};

function part(text: string): object {
  return { type: "output_text", text, annotations: [], logprobs: [] };
}

function item(status: string, text: string): object {
  return { id: "msg_1", type: "message", role: "assistant", status, content: text === "" ? [] : [part(text)] };
}

function response(model: string | undefined, status: "in_progress" | "completed"): object {
  const completed = status === "completed";
  return {
    id: "resp_1",
    object: "response",
    created_at: 1_700_000_000,
    status,
    model,
    output: completed ? [item(status, FAKE_TEXT)] : [],
    usage: completed ? RESPONSES_USAGE : null,
    error: null,
    incomplete_details: null,
  };
}

const embeddings: FakeAnswer = {
  whole: ({ model }) => ({
    object: "list",
    model,
    data: [{ object: "embedding", index: 0, embedding: [0.25, -0.5] }],
    usage: { prompt_tokens: openai.input, total_tokens: openai.input },
  }),
  events: () => [],
};

const messages: FakeAnswer = {
  whole: ({ model }) => message(model, [{ type: "text", text: FAKE_TEXT }], "end_turn", MESSAGES_USAGE),
  events: ({ model }) => {
    const event = (type: string, fields: object) => ({ event: type, data: { type, ...fields } });
    return [
      event("message_start", { message: message(model, [], null, { ...MESSAGES_USAGE, output_tokens: 1 }) }),
      event("content_block_start", { index: 0, content_block: { type: "text", text: "" } }),
      event("ping", {}),
      ...FAKE_WORDS.map((text) => event("content_block_delta", { index: 0, delta: { type: "text_delta", text } })),
      event("content_block_stop", { index: 0 }),
      event("message_delta", {
        delta: { stop_reason: "end_turn", stop_sequence: null },
        usage: { output_tokens: anthropic.output },
      }),
      event("message_stop", {}),
    ];
  },
};

function message(model: string | undefined, content: object[], stop_reason: string | null, usage: object): object {
  return { id: "msg_1", type: "message", role: "assistant", model, content, stop_reason, stop_sequence: null, usage };
}

const ANSWERS: Readonly<Record<string, FakeAnswer>> = {
  "/v1/chat/completions": chat,
  "/v1/responses": responses,
  "/v1/embeddings": embeddings,
  "/v1/messages": messages,
};
