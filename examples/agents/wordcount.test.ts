// The tests of an agent: vgas test examples/agents. No swarm is needed.
import assert from "node:assert/strict";
import test from "node:test";
import { testAgent } from "vgas/testing";
import wordcount from "./wordcount.ts";

test("counts words", async () => {
  const { result } = await testAgent(wordcount, { input: "to be or not to be" });
  assert.equal(result.status, "ok");
  assert.equal(result.output?.words, 6);
});

test("refuses what is no text, for good", async () => {
  const { result, attempts } = await testAgent(wordcount, { input: 7 });
  assert.equal(result.error?.retryable, false);
  assert.equal(attempts.length, 1);
});
