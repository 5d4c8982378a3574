import { expect, test } from "vitest";
import type { Candidate } from "../../src/admission/candidates.ts";
import { KnownCandidates, MAX_KNOWN } from "../../src/admission/known-candidates.ts";
import { VgasError } from "../../src/protocols/errors.ts";

function candidate(id: string, fields: Partial<Candidate> = {}): Candidate {
  return { id, addresses: ["10.0.0.1"], port: 8080, source: "mdns", ...fields };
}

interface List {
  readonly known: KnownCandidates;
  readonly offer: (candidate: Candidate) => void;
  readonly heard: string[];
  readonly ids: () => string[];
}

/** A list that a test offers candidates to. */
function makeList(): List {
  let offer: (candidate: Candidate) => void = () => undefined;
  const heard: string[] = [];
  const source = {
    watch: (onCandidate: (candidate: Candidate) => void) => {
      offer = onCandidate;
      return () => {
        offer = () => undefined;
      };
    },
  };
  const known = new KnownCandidates([source], {
    onNew: ({ id }) => heard.push(id),
    isOfUse: ({ swarmId }) => swarmId !== "other",
    random: () => 0.5,
  });
  return { known, offer: (each) => offer(each), heard, ids: () => known.all.map(({ id }) => id) };
}

const ALL = (): boolean => true;

test("a flood is bounded, does not push out who was named, and does not keep the next one out", () => {
  const { known, offer, ids } = makeList();
  offer(candidate("named", { source: "peer" }));
  offer(candidate("true"));
  for (let i = 0; i < 1_000; i++) offer(candidate(`useless${i}`, { swarmId: "other" }));
  expect(ids()).toHaveLength(MAX_KNOWN);
  expect(ids()).toEqual(expect.arrayContaining(["named", "true"]));
  for (let i = 0; i < 1_000; i++) offer(candidate(`forged${i}`));
  offer(candidate("late"));
  expect(known.all).toHaveLength(MAX_KNOWN);
  expect(ids()).toEqual(expect.arrayContaining(["named", "late"]));
});

test("the ones that failed least and waited longest come first", () => {
  const { known, offer } = makeList();
  for (const id of ["a", "b", "c"]) offer(candidate(id));
  const next = (): string[] => known.next(ALL, 2).map((each) => each.candidate.id);
  expect(next()).toEqual(["a", "b"]);
  for (const each of known.next(ALL, 2)) known.failed(each, new VgasError("NO_SWARM", "nobody"));
  expect(next()).toEqual(["c", "a"]);
  expect(known.next(({ id }) => id === "b", 2)).toHaveLength(1);
});

test("hears of a candidate when it is new or changes, and forgets how it failed before", () => {
  const { known, offer, heard } = makeList();
  offer(candidate("a"));
  offer(candidate("a"));
  expect(heard).toEqual(["a"]);
  const [first] = known.next(ALL, 1);
  if (first) known.failed(first, new VgasError("CERTIFICATE_MISMATCH", "wrong"));
  expect(known.allMismatch(ALL)).toBe(true);
  offer(candidate("a", { addresses: ["10.0.0.2"] }));
  expect(heard).toEqual(["a", "a"]);
  expect(known.allMismatch(ALL)).toBe(false);
  known.stop();
  offer(candidate("b"));
  expect(known.all).toHaveLength(1);
});
