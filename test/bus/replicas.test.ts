import type { PeerInfo, StreamInfo } from "@nats-io/jetstream";
import { describe, expect, test } from "vitest";
import { replicaState, replicaTrouble } from "../../src/bus/replicas.ts";

const copy = (name: string, more: Partial<PeerInfo> = {}): PeerInfo =>
  ({ name, current: true, active: 1e8, lag: 0, ...more }) as PeerInfo;

function stream(replicas: readonly PeerInfo[], leader: string | undefined = "s0"): StreamInfo {
  return { config: { num_replicas: 1 + replicas.length }, cluster: { name: "c", leader, replicas } } as StreamInfo;
}

describe("replicaState", () => {
  test("says nothing of a stream with one copy", () => {
    expect(replicaState(stream([]))).toBeUndefined();
  });

  test("finds nothing wrong with copies that are up to date", () => {
    const state = replicaState(stream([copy("s1"), copy("s2")]));
    expect(state).toEqual({ leader: "s0", offline: [], behind: [] });
    expect(state && replicaTrouble(state)).toBeUndefined();
  });

  test("tells a copy that is gone, by the servers' word or by its silence, from one that is only behind", () => {
    const state = replicaState(
      stream([
        copy("s3", { current: false, active: 6e9 }),
        copy("s1", { offline: true }),
        copy("s2", { current: false, active: 1e9 }),
      ]),
    );
    expect(state).toEqual({ leader: "s0", offline: ["s1", "s3"], behind: ["s2"] });
    expect(state && replicaTrouble(state)).toBe("its copy on s1 and s3 is missing: that server is not heard");
  });

  test("names copies that are behind, and the want of a leader before all else", () => {
    const behind = replicaState(stream([copy("s1", { current: false })]));
    expect(behind && replicaTrouble(behind)).toBe("its copy on s1 is not up to date");
    expect(replicaTrouble({ leader: undefined, offline: ["s1"], behind: [] })).toContain("no server leads it");
  });
});
