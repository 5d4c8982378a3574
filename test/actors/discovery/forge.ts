/** mDNS packets as a stranger may write them: a small encoder of its own, without compression, that checks nothing. */

export interface ForgedRecord {
  readonly name: string;
  readonly type: number;
  readonly ttl: number;
  readonly data: Buffer;
}

export const TYPE = { A: 1, PTR: 12, TXT: 16, SRV: 33 } as const;
export const DOMAIN = "_vgas._tcp.local";

export interface Forged {
  readonly id: string;
  readonly mode?: string;
  readonly version?: string;
  readonly port?: number;
  readonly addresses?: readonly string[];
  readonly ttlS?: number;
  readonly extra?: readonly string[];
}

/** A whole announcement. */
export function announcement({ id, mode, version, port, addresses, ttlS = 120, extra = [] }: Forged): Buffer {
  const instance = `${id}.${DOMAIN}`;
  const host = `${id}.local`;
  const text = [
    `v=${version ?? "1"}`,
    `id=${id}`,
    `mode=${mode ?? "master"}`,
    "swarm=abcdefghij",
    "nats=4222",
    ...extra,
  ];
  return packet([
    { name: DOMAIN, type: TYPE.PTR, ttl: ttlS, data: encodeName(instance) },
    { name: instance, type: TYPE.SRV, ttl: ttlS, data: srv(port ?? 8080, host) },
    { name: instance, type: TYPE.TXT, ttl: ttlS, data: txt(text) },
    ...(addresses ?? ["10.0.0.9"]).map((address) => ({
      ...{ name: host, type: TYPE.A, ttl: ttlS },
      data: Buffer.from(address.split(".").map(Number)),
    })),
  ]);
}

export function goodbye(id: string): Buffer {
  return packet([{ name: DOMAIN, type: TYPE.PTR, ttl: 0, data: encodeName(`${id}.${DOMAIN}`) }]);
}

export function packet(
  records: readonly ForgedRecord[],
  header: { readonly flags?: number; readonly count?: number } = {},
): Buffer {
  const { flags = 0x8400, count = records.length } = header;
  const encoded = records.map(({ name, type, ttl, data }) => {
    const fixed = Buffer.alloc(10);
    fixed.writeUInt16BE(type, 0);
    fixed.writeUInt16BE(1, 2);
    fixed.writeUInt32BE(ttl, 4);
    fixed.writeUInt16BE(data.length, 8);
    return Buffer.concat([encodeName(name), fixed, data]);
  });
  return Buffer.concat([headerOf(flags, 0, count), ...encoded]);
}

export function question(name: string, type: number, count = 1): Buffer {
  const one = Buffer.concat([encodeName(name), Buffer.from([0, type, 0, 1])]);
  return Buffer.concat([headerOf(0, count, 0), ...Array.from({ length: count }, () => one)]);
}

function encodeName(name: string): Buffer {
  const labels = name.split(".").map((label) => Buffer.from(label));
  return Buffer.concat([...labels.flatMap((label) => [Buffer.from([label.length]), label]), Buffer.from([0])]);
}

function headerOf(flags: number, questions: number, answers: number): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(flags, 2);
  header.writeUInt16BE(questions, 4);
  header.writeUInt16BE(answers, 6);
  return header;
}

function srv(port: number, host: string): Buffer {
  const fixed = Buffer.alloc(6);
  fixed.writeUInt16BE(port, 4);
  return Buffer.concat([fixed, encodeName(host)]);
}

function txt(strings: readonly string[]): Buffer {
  return Buffer.concat(strings.flatMap((each) => [Buffer.from([Buffer.byteLength(each)]), Buffer.from(each)]));
}
