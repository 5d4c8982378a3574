import Anthropic from "@anthropic-ai/sdk";
import OpenAI, { toFile } from "openai";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Brokered, CANARY } from "../../support/brokered.ts";
import { FAKE_TEXT, FAKE_USAGE, FAKE_WORDS, FakeProviders } from "../../support/fake-providers.ts";
import { rejection } from "../../support/wait.ts";

let fake: FakeProviders;

beforeAll(async () => {
  fake = await FakeProviders.start();
});

afterAll(async () => {
  await fake.stop();
});

beforeEach(() => {
  fake.requests.length = 0;
});

describe("the openai client by way of the vault", () => {
  const brokered = () => new Brokered([fake.origin]);
  const client = (by: Brokered, maxRetries = 0) =>
    new OpenAI({ apiKey: "no key", baseURL: `${fake.origin}/v1`, fetch: by.fetch, maxRetries });

  it("completes a chat with the vault's key in place of its own", async () => {
    const by = brokered();
    const completion = await client(by).chat.completions.create({
      model: "gpt-4o-mini",
      messages: [{ role: "user", content: "Hello" }],
    });
    expect(completion.choices[0]?.message.content).toBe(FAKE_TEXT);
    expect(completion.usage?.prompt_tokens).toBe(FAKE_USAGE.openai.input);
    expect(fake.requests).toHaveLength(1);
    expect(fake.requests[0]?.headers["authorization"]).toBe(`Bearer ${CANARY}`);
    expect(JSON.parse(fake.requests[0]?.body ?? "")).toMatchObject({ model: "gpt-4o-mini" });
    expect(by.usages).toMatchObject([{ calls: 1, errors: 0, bytesSent: fake.requests[0]?.body.length }]);
    expect(JSON.stringify(by.requests)).not.toContain("no key");
  });

  it("streams a chat with its usage", async () => {
    const by = brokered();
    const stream = await client(by).chat.completions.create({
      model: "gpt-4o-mini",
      messages: [{ role: "user", content: "Hello" }],
      stream: true,
      stream_options: { include_usage: true },
    });
    const words: string[] = [];
    let tokens: number | undefined;
    for await (const chunk of stream) {
      const word = chunk.choices[0]?.delta.content ?? "";
      if (word !== "") words.push(word);
      tokens = chunk.usage?.completion_tokens ?? tokens;
    }
    expect(words).toEqual([...FAKE_WORDS]);
    expect(tokens).toBe(FAKE_USAGE.openai.output);
    expect(by.outcomes).toMatchObject([{ status: 200 }]);
  });

  it("takes responses, plain and streaming", async () => {
    const by = brokered();
    const plain = await client(by).responses.create({ model: "gpt-5-mini", input: "Hello" });
    expect(plain.output_text).toBe(FAKE_TEXT);
    const stream = await client(by).responses.create({ model: "gpt-5-mini", input: "Hello", stream: true });
    let text = "";
    let usage: { input_tokens: number } | undefined;
    for await (const event of stream) {
      if (event.type === "response.output_text.delta") text += event.delta;
      if (event.type === "response.completed") usage = event.response.usage;
    }
    expect(text).toBe(FAKE_TEXT);
    expect(usage?.input_tokens).toBe(FAKE_USAGE.openai.input);
  });

  it("uploads a file of several pieces as a form, with its length", async () => {
    const by = brokered();
    const content = Buffer.alloc(700_000, "vgas ");
    fake.refuseNext(400);
    const file = await toFile(content, "data.jsonl");
    await rejection(client(by).files.create({ file, purpose: "batch" }));
    const [request] = fake.requests;
    expect(request?.headers["content-type"]).toMatch(/^multipart\/form-data; boundary=/);
    expect(request?.body).toContain(content.toString());
    expect(request?.headers["content-length"]).toBe(String(Buffer.byteLength(request?.body ?? "")));
    expect(by.requests.filter(({ action }) => action === "write").length).toBeGreaterThan(1);
  });

  it("waits and tries again by itself when it is told to", async () => {
    const by = brokered();
    fake.refuseNext(429, { "retry-after-ms": "1" });
    const completion = await client(by, 1).chat.completions.create({
      model: "gpt-4o-mini",
      messages: [{ role: "user", content: "Hello" }],
    });
    expect(completion.choices[0]?.message.content).toBe(FAKE_TEXT);
    expect(by.outcomes).toMatchObject([{ status: 429, retryAfterMs: 1 }, { status: 200 }]);
  });
});

describe("the Anthropic client by way of the vault", () => {
  const brokered = () => new Brokered([fake.origin], { header: "x-api-key", scheme: "" });
  const client = (by: Brokered) =>
    new Anthropic({ apiKey: "no key", baseURL: fake.origin, fetch: by.fetch, maxRetries: 0 });
  const hello = { model: "claude-sonnet-5", max_tokens: 64, messages: [{ role: "user" as const, content: "Hello" }] };

  it("gets a message with the vault's key in place of its own", async () => {
    const by = brokered();
    const message = await client(by).messages.create(hello);
    expect(message.content).toMatchObject([{ type: "text", text: FAKE_TEXT }]);
    expect(message.usage.cache_read_input_tokens).toBe(FAKE_USAGE.anthropic.cacheRead);
    expect(fake.requests[0]?.headers["x-api-key"]).toBe(CANARY);
    expect(fake.requests[0]?.headers["anthropic-version"]).toBeDefined();
    expect(fake.requests[0]?.headers["authorization"]).toBeUndefined();
  });

  it("streams a message", async () => {
    const by = brokered();
    const stream = client(by).messages.stream(hello);
    const words: string[] = [];
    stream.on("text", (delta) => words.push(delta));
    const message = await stream.finalMessage();
    expect(words).toEqual([...FAKE_WORDS]);
    expect(message.usage.output_tokens).toBe(FAKE_USAGE.anthropic.output);
    expect(by.usages).toMatchObject([{ calls: 1, errors: 0 }]);
    expect(Buffer.concat(by.metered[0] ?? []).toString()).toContain("message_delta");
  });

  it("gets the provider's own error, and the pause that it asked for is known", async () => {
    const by = brokered();
    fake.refuseNext(429, { "retry-after": "7" });
    expect(await rejection(client(by).messages.create(hello))).toBeInstanceOf(Anthropic.RateLimitError);
    expect(by.outcomes).toMatchObject([{ status: 429, retryAfterMs: 7_000 }]);
  });
});
