import { expect, test } from "vitest";
import { Letter } from "../../../src/actors/runtime/letter.ts";
import { Mailbox } from "../../../src/actors/runtime/mailbox.ts";

function letter(type = "x"): Letter {
  return new Letter({ type, fields: {}, asked: false, settle: () => undefined });
}

test("counts what waits and what the machine has, until it is removed", () => {
  const mailbox = new Mailbox(2);
  const [first, second] = [letter(), letter()];
  mailbox.put(first);
  mailbox.put(second);
  expect(mailbox.take()).toBe(first);
  expect([mailbox.size, mailbox.full]).toEqual([2, true]);
  expect(mailbox.letterOf(first.event)).toBe(first);
  mailbox.remove(first);
  expect([mailbox.size, mailbox.full]).toEqual([1, false]);
  mailbox.remove(second);
  expect(mailbox.take()).toBeUndefined();
});

test("is idle once the last letter is removed", async () => {
  const mailbox = new Mailbox(5);
  await mailbox.idle();
  const only = letter();
  mailbox.put(only);
  let idle = false;
  const waiting = mailbox.idle().then(() => {
    idle = true;
  });
  mailbox.take();
  await Promise.resolve();
  expect(idle).toBe(false);
  mailbox.remove(only);
  await waiting;
  expect(idle).toBe(true);
});

test("a letter is answered by the first answer only", () => {
  const outcomes: unknown[] = [];
  const asked = new Letter({ type: "x", fields: { n: 1 }, asked: true, settle: (outcome) => outcomes.push(outcome) });
  const event = asked.event as unknown as { n: number; reply(value: unknown): void; fail(error: unknown): void };
  expect(event.n).toBe(1);
  event.reply("first");
  event.fail(new Error("second"));
  event.reply("third");
  expect(outcomes).toEqual([{ value: "first" }]);
});

test("a told letter has nobody to answer to", () => {
  const outcomes: unknown[] = [];
  const told = new Letter({ type: "x", fields: {}, asked: false, settle: (outcome) => outcomes.push(outcome) });
  (told.event as unknown as { reply(value: unknown): void }).reply(1);
  expect(outcomes).toEqual([]);
  expect(told.settled).toBe(false);
});
