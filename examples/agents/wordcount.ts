/**
 * A small agent: counts words.
 *
 *   bin/vgas up --module examples/agents/wordcount.ts
 *   bin/vgas submit wordcount '"to be or not to be"' --wait
 */
import { defineAgent, TaskError } from "vgas";

interface WordCount {
  readonly words: number;
  readonly different: number;
}

export default defineAgent<string, WordCount>({
  kind: "wordcount",
  instances: 4,
  slots: 8,
  run({ input }) {
    if (typeof input !== "string") throw new TaskError("BAD_INPUT", "the input must be a text", { retryable: false });
    const words = input.toLowerCase().match(/[\p{L}\p{N}'’]+/gu) ?? [];
    return { words: words.length, different: new Set(words).size };
  },
});
