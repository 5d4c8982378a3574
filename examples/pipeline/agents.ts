/**
 * Three kinds of agents that files go through: `read` counts their words, `classify` says what they are, `shelve` puts a card
 * of each on the shelf of its class. docs/walkthrough.md runs 5 000 files through them.
 */
import { createHash } from "node:crypto";
import { access, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { defineAgent, TaskError } from "vgas";
import "./tracing.ts";

export interface Words {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  /** How often each word occurs. */
  readonly words: Readonly<Record<string, number>>;
}

export interface Classified {
  readonly path: string;
  readonly sha256: string;
  readonly label: Label;
}

const LABELS = { invoice: ["amount", "due"], letter: ["dear", "sincerely"], note: ["remember"] } as const;
export type Label = keyof typeof LABELS | "other";

/** One in so many first attempts finds the classifier overloaded, as one finds a model's endpoint. */
const OVERLOADED_EVERY = 20;

const read = defineAgent<string, Words>({
  kind: "read",
  instances: 4,
  slots: 16,
  async run({ input: path }, { signal }) {
    const text = await readFile(path, { encoding: "utf8", signal }).catch((cause: NodeJS.ErrnoException) => {
      // No second attempt finds a file that is not there.
      throw new TaskError("UNREADABLE", cause.message, { retryable: cause.code !== "ENOENT", cause });
    });
    const words: Record<string, number> = {};
    for (const word of text.toLowerCase().match(/[a-z]+/g) ?? []) words[word] = (words[word] ?? 0) + 1;
    return { path, bytes: Buffer.byteLength(text), sha256: createHash("sha256").update(text).digest("hex"), words };
  },
});

const classify = defineAgent<Words, Classified>({
  kind: "classify",
  instances: 4,
  slots: 16,
  backoff: { initialMs: 100, maxMs: 2_000 },
  async run({ input: { path, sha256, words } }, { attempt, log, signal }) {
    const chance = Number.parseInt(sha256.slice(0, 8), 16);
    // A model's answer takes its time, and a cancelled task need not wait for it.
    await pause(5 + (chance % 40), undefined, { signal });
    if (attempt === 1 && chance % OVERLOADED_EVERY === 0) {
      log.warn({ path }, "the classifier is overloaded");
      throw new TaskError("OVERLOADED", "the classifier takes nothing more just now");
    }
    const fits = Object.entries(LABELS).find(([, marks]) => marks.every((mark) => Object.hasOwn(words, mark)));
    return { path, sha256, label: (fits?.[0] as Label | undefined) ?? "other" };
  },
});

const shelve = defineAgent<Classified, string>({
  kind: "shelve",
  instances: 2,
  slots: 16,
  /** `context` is the folder of shelves; a shelf is a folder in it, and somebody has to put it up. */
  async run({ input: { path, sha256, label }, context }) {
    const shelf = join(String(context), label);
    await access(shelf).catch((cause: Error) => {
      throw new TaskError("NO_SHELF", `there is no shelf ${shelf}`, { retryable: false, cause });
    });
    const card = join(shelf, `${basename(path)}.json`);
    await writeFile(card, JSON.stringify({ path, sha256 }));
    return card;
  },
});

/** A vgas module exports its agents by default. */
export default [read, classify, shelve];
