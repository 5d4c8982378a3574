import { expect, test } from "vitest";
import { keptFor } from "../../src/http/moment.ts";

test("makes one for all who ask at once, and keeps it for a moment", async () => {
  let now = 0;
  let made = 0;
  let finish: (value: number) => void = () => undefined;
  const ask = keptFor(
    500,
    () =>
      new Promise<number>((resolve) => {
        made++;
        finish = resolve;
      }),
    () => now,
  );
  const both = [ask(), ask()];
  now = 10_000;
  both.push(ask());
  expect(made).toBe(1);
  finish(7);
  expect(await Promise.all(both)).toEqual([7, 7, 7]);
  now += 499;
  expect(await ask()).toBe(7);
  now += 1;
  void ask();
  expect(made).toBe(2);
});

test("does not keep a failure", async () => {
  let made = 0;
  const ask = keptFor(
    500,
    async () => {
      if (++made === 1) throw new Error("no");
      return made;
    },
    () => 0,
  );
  await expect(ask()).rejects.toThrow("no");
  expect(await ask()).toBe(2);
});
