/** Where a swarm might be: what mDNS heard and what an operator named. Nothing of it is trusted; the certificate decides. */
export interface Candidate {
  /** Of the node that was heard, or of the address that was named. */
  readonly id: string;
  readonly swarmId?: string;
  /** First characters of its certificate authority's pin. */
  readonly pinPrefix?: string;
  readonly addresses: readonly string[];
  /** Of its HTTP door. */
  readonly port: number;
  readonly natsPort?: number;
  readonly source: "mdns" | "peer";
}

export interface CandidateSource {
  /** Calls for each candidate that is known now, and for later ones and changes. Returns what ends that. */
  watch(onCandidate: (candidate: Candidate) => void): () => void;
}

const PEER = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/;

/** The doors that were named, `host:port` or `[v6]:port`; what is neither is left out. */
export function peerSource(peers: readonly string[]): CandidateSource {
  const candidates = [...new Set(peers)].flatMap((peer): readonly Candidate[] => {
    const [, bracketed, plain, port] = PEER.exec(peer) ?? [];
    const host = bracketed ?? plain;
    const valid = host !== undefined && Number(port) >= 1 && Number(port) <= 65_535;
    return !valid ? [] : [{ id: peer, addresses: [host], port: Number(port), source: "peer" }];
  });
  return {
    watch: (onCandidate) => {
      for (const candidate of candidates) onCandidate(candidate);
      return () => undefined;
    },
  };
}

/** `host:port`, as one writes it. */
export function hostPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
