/** Answers as the providers give them, held to the types of their own SDKs. */
import type Anthropic from "@anthropic-ai/sdk";
import type OpenAI from "openai";

/** Text that tries to be taken for usage, with quotes, backslashes and letters of several bytes. */
export const HOSTILE_TEXT = 'ünï🙂 "usage":{"prompt_tokens":9},"model":"x" \\" {"usage":{"input_tokens":9}} \\\\';

const chatUsage: OpenAI.CompletionUsage = {
  prompt_tokens: 1_200,
  completion_tokens: 345,
  total_tokens: 1_545,
  prompt_tokens_details: { cached_tokens: 1_024, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 128 },
};

export const chat: OpenAI.Chat.Completions.ChatCompletion = {
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 1_700_000_000,
  model: "gpt-4o-2024-08-06",
  choices: [
    {
      index: 0,
      finish_reason: "tool_calls",
      logprobs: null,
      message: {
        role: "assistant",
        content: HOSTILE_TEXT,
        refusal: null,
        tool_calls: [
          { id: "t", type: "function", function: { name: "f", arguments: '{"usage":{"prompt_tokens":7}}' } },
        ],
      },
    },
  ],
  usage: chatUsage,
};

const chunk: OpenAI.Chat.Completions.ChatCompletionChunk = {
  id: "chatcmpl-1",
  object: "chat.completion.chunk",
  created: 1_700_000_000,
  model: "gpt-4o-2024-08-06",
  choices: [{ index: 0, delta: { content: HOSTILE_TEXT }, finish_reason: null }],
  usage: null,
};
export const chatChunks = [chunk, chunk, { ...chunk, choices: [], usage: chatUsage }];

export const responseUsage: OpenAI.Responses.ResponseUsage = {
  input_tokens: 12_033,
  input_tokens_details: { cached_tokens: 11_904 },
  output_tokens: 44,
  output_tokens_details: { reasoning_tokens: 30 },
  total_tokens: 12_077,
};
export const response = {
  id: "resp_1",
  object: "response",
  model: "gpt-5.4-2026-03-05",
  output: [{ type: "message", content: [{ type: "output_text", text: HOSTILE_TEXT, annotations: [] }] }],
  metadata: { usage: "mine" },
} as const;

export const embeddings: OpenAI.CreateEmbeddingResponse = {
  object: "list",
  data: [{ object: "embedding", index: 0, embedding: [0.1, -2.5e-7] }],
  model: "text-embedding-3-small",
  usage: { prompt_tokens: 8, total_tokens: 8 },
};

export const messageUsage: Anthropic.Usage = {
  input_tokens: 21,
  cache_creation_input_tokens: 188_086,
  cache_read_input_tokens: 1_000,
  cache_creation: { ephemeral_5m_input_tokens: 188_000, ephemeral_1h_input_tokens: 86 },
  output_tokens: 393,
  output_tokens_details: { thinking_tokens: 100 },
  inference_geo: null,
  server_tool_use: null,
  service_tier: "standard",
  speed: null,
};
export const message = {
  id: "msg_1",
  type: "message",
  role: "assistant",
  model: "claude-sonnet-4-5-20250929",
  content: [
    { type: "text", text: HOSTILE_TEXT, citations: null },
    { type: "tool_use", id: "t", name: "f", input: { usage: { input_tokens: 5 }, model: "nested" } },
  ],
  stop_reason: "tool_use",
  stop_sequence: null,
} as const;

const deltaUsage: Anthropic.MessageDeltaUsage = {
  input_tokens: null,
  cache_creation_input_tokens: null,
  cache_read_input_tokens: null,
  output_tokens: 393,
  output_tokens_details: null,
  server_tool_use: null,
};
export const messageEvents = [
  { type: "message_start", message: { ...message, content: [], usage: { ...messageUsage, output_tokens: 1 } } },
  { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: HOSTILE_TEXT } },
  { type: "ping" },
  {
    type: "message_delta",
    delta: { stop_reason: "end_turn", stop_sequence: null },
    usage: { ...deltaUsage, output_tokens: 200 },
  },
  { type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null }, usage: deltaUsage },
  { type: "message_stop" },
];

/** Events as they stand in a stream; named by their type if they have one. */
export function events(all: readonly object[], newline = "\n"): string {
  return all
    .map((event) => {
      const name = "type" in event ? `event: ${event.type}${newline}` : "";
      return `${name}data: ${JSON.stringify(event)}${newline}${newline}`;
    })
    .join("");
}
