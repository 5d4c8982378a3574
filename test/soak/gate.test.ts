import { expect, test } from "vitest";
import { Gate } from "./gate.ts";

/** Work that is over when it is told so, and says when it began and ended. */
function work(name: string, said: string[]): { run: () => Promise<void>; end: () => void } {
  let end = (): void => undefined;
  const over = new Promise<void>((resolve) => {
    end = resolve;
  });
  const run = async (): Promise<void> => {
    said.push(`${name} began`);
    await over;
    said.push(`${name} ended`);
  };
  return { run, end };
}

test("several pass together, one alone, and whoever comes meanwhile waits", async () => {
  const gate = new Gate();
  const said: string[] = [];
  const [a, b, alone, late] = ["a", "b", "alone", "late"].map((name) => work(name, said));
  if (!a || !b || !alone || !late) throw new Error("four of them");
  const all = [gate.together(a.run), gate.together(b.run), gate.alone(alone.run), gate.together(late.run)];
  a.end();
  late.end();
  await all[0];
  expect(said).toEqual(["a began", "b began", "a ended"]);
  b.end();
  alone.end();
  await Promise.all(all);
  expect(said.slice(3)).toEqual(["b ended", "alone began", "alone ended", "late began", "late ended"]);
});

test("what fails opens the gate again", async () => {
  const gate = new Gate();
  const failing = (): Promise<void> => Promise.reject(new Error("no"));
  await expect(gate.alone(failing)).rejects.toThrow("no");
  await expect(gate.together(failing)).rejects.toThrow("no");
  await gate.alone(() => Promise.resolve());
});
