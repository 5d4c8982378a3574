import { expect, test } from "vitest";
import { Deadline } from "../../src/bus/deadline.ts";

function fired({ signal }: Deadline): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve());
  });
}

test("fires when the time is over, and says so", async () => {
  const other = new AbortController();
  const deadline = new Deadline(5, other.signal, undefined);
  await fired(deadline);
  expect(deadline.expired).toBe(true);
  expect(deadline.signal.reason).toMatchObject({ name: "TimeoutError" });
});

test("fires with the reason of whatever ends the operation, also if that was before", async () => {
  for (const early of [true, false]) {
    const other = new AbortController();
    if (early) other.abort("enough");
    const deadline = new Deadline(60_000, other.signal);
    other.abort("enough");
    await fired(deadline);
    expect([deadline.expired, deadline.signal.reason]).toEqual([false, "enough"]);
    deadline.clear();
  }
});

test("does not expire any more when something else has ended the operation", async () => {
  const other = new AbortController();
  const deadline = new Deadline(1, other.signal);
  other.abort("enough");
  await fired(new Deadline(20));
  expect([deadline.expired, deadline.signal.reason]).toEqual([false, "enough"]);
});

test("fires no more once it is cleared", () => {
  const other = new AbortController();
  const deadline = new Deadline(undefined, other.signal);
  deadline.clear();
  other.abort();
  expect(deadline.signal.aborted).toBe(false);
});
