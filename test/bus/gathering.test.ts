/** Which of the publishes that wait go together, and that each goes (P1). */
import { expect, test } from "vitest";
import { Gathering } from "../../src/bus/gathering.ts";
import type { PendingPublish } from "../../src/bus/publish-queue.ts";

const MIB = 2 ** 20;

function publish(subject: string, bytes: number): PendingPublish {
  return { subject, bytes, settled: false } as unknown as PendingPublish;
}

test.each(["fast", "atomic"] as const)(
  "%s: what is larger than a batch may be goes by itself, and holds nobody up",
  (kind) => {
    const gathering = new Gathering("s", kind);
    const subjects = Array.from({ length: 40 }, (_, i) => `s.${i}`);
    for (const [i, subject] of subjects.entries()) gathering.add(publish(subject, i === 20 || i === 0 ? 8 * MIB : 100));
    const gone: string[] = [];
    while (!gathering.isEmpty) {
      const { messages, batchOf } = gathering.take(4_096, 32 * MIB);
      expect(messages.length).toBeGreaterThan(0);
      gone.push(...messages.map(({ subject }) => subject));
      if (batchOf !== undefined) {
        expect(messages.every(({ bytes }) => bytes === 100)).toBe(true);
        gathering.batchEnded(0);
      } else for (const _ of messages) gathering.singleEnded();
    }
    expect(gone).toEqual(subjects);
  },
);

test("what the window has no room for waits", () => {
  const gathering = new Gathering("s", "fast");
  for (let i = 0; i < 5; i++) gathering.add(publish(`s.${i}`, i === 0 ? 8 * MIB : 100));
  expect(gathering.take(4_096, 4 * MIB).messages).toEqual([]);
  expect(gathering.take(0, 32 * MIB).messages).toEqual([]);
  expect(gathering.take(4_096, 8 * MIB).messages).toHaveLength(1);
});
