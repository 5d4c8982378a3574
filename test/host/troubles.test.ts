import { expect, test } from "vitest";
import { Troubles, type TroublesOptions } from "../../src/host/troubles.ts";

const GIB = 2 ** 30;

/** A node with nothing wrong, but for what is given. */
function troubled(parts: Partial<Record<keyof TroublesOptions, unknown>>): Troubles {
  const well = {
    bus: { state: "connected" },
    publisher: { oldest: undefined },
    results: { refused: 0 },
    server: { trouble: undefined, freeBytes: GIB },
    keeper: { trouble: undefined },
    dispatcher: () => ({ trouble: undefined }),
  };
  return new Troubles({ ...well, ...parts } as unknown as TroublesOptions);
}

test("a node with nothing wrong says nothing, nor one without broker and dispatcher", () => {
  expect(troubled({}).list()).toEqual([]);
  expect(troubled({ server: undefined, keeper: undefined, dispatcher: () => undefined }).list()).toEqual([]);
  const waiting = (ms: number) => ({ publisher: { oldest: { subject: "vgas.results.p.x", ms } } });
  expect(troubled(waiting(2_000)).list()).toEqual([]);
  // Without a connection nothing is answered, and the connection is what is told.
  expect(troubled({ bus: { state: "disconnected" }, ...waiting(60_000) }).list()).toEqual([]);
});

test.each([
  { what: "its broker", parts: { server: { trouble: "it does not store", freeBytes: 0 } }, said: "it does not store" },
  { what: "its disk", parts: { server: { trouble: undefined, freeBytes: 2 ** 20 } }, said: "has 1 MiB left" },
  {
    what: "deleted streams",
    parts: { keeper: { trouble: "deleted from outside: X" } },
    said: "deleted from outside: X",
  },
  {
    what: "publishes without an answer",
    parts: { publisher: { oldest: { subject: "vgas.results.p.x", ms: 20_000 } } },
    said: "vgas.results.p.x has not been stored for 20 s",
  },
  { what: "refused results", parts: { results: { refused: 2 } }, said: "refuses 2 results of" },
  { what: "one refused result", parts: { results: { refused: 1 } }, said: "refuses 1 result of" },
  {
    what: "its dispatcher",
    parts: { dispatcher: () => ({ trouble: "the results stream is full" }) },
    said: "its dispatcher pulls nothing: the results stream is full",
  },
])("it says what is wrong with $what, and what to do", ({ parts, said }) => {
  expect(troubled(parts).list()).toEqual([{ what: expect.stringContaining(said), remedy: expect.stringMatching(/./) }]);
});

test("only what its broker cannot do keeps it from being ready", () => {
  expect(troubled({ server: { trouble: "off", freeBytes: GIB } }).blocking).toBe("off");
  expect(troubled({ results: { refused: 2 } }).blocking).toBeUndefined();
});
