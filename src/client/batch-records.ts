/**
 * What is kept of a batch, so that another process finds its tasks: 7 days, in bucket `vgas_batches`.
 *
 * Key `<pool>.<batchId>` holds msgpack `{v: 1, parts, data}`; further parts are under `<pool>.<batchId>.<n>` from 1 on, and are written
 * first. The parts joined are msgpack `{kind, at, array, messages, ids?}`: `messages` has `<sequence>+<tasks>` of each message, in
 * order, and `ids` the tasks' own ids, empty for an automatic one; both separated by blanks.
 */
import { z } from "zod";
import { decode, encode } from "../bus/codec/codec.ts";
import type { KvBucket } from "../bus/kv.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Names } from "../protocols/subjects.ts";
import { automaticId, isToken } from "../protocols/tokens.ts";

export interface BatchRecord {
  readonly kind: string;
  /** When it was submitted, ms since the epoch by the client's clock. */
  readonly at: number;
  /** Its messages are arrays. */
  readonly array: boolean;
  readonly messages: readonly { readonly sequence: number; readonly tasks: number }[];
  /** Of all tasks in their order; undefined for an automatic one, or if all are. */
  readonly ids: readonly (string | undefined)[] | undefined;
}

/** Fits into a message with what goes around it. */
const PART_BYTES = 512 * 1024;
const MAX_PARTS = 1_000;
/** What is kept may be anybody's: the ids of so many tasks take about 150 MiB. */
const MAX_TASKS = 2_000_000;

const head = z.object({
  v: z.literal(1),
  parts: z.number().int().min(1).max(MAX_PARTS),
  data: z.custom<Uint8Array>((value) => value instanceof Uint8Array),
});
const content = z.object({
  kind: z.string().refine(isToken),
  at: z.number(),
  array: z.boolean(),
  messages: z.string(),
  ids: z.string().optional(),
});

export class BatchRecords {
  readonly #bucket: KvBucket;
  readonly #names: Names;

  constructor(bucket: KvBucket, names: Names) {
    this.#bucket = bucket;
    this.#names = names;
  }

  /** @throws VgasError as `KvBucket.put` */
  async write(pool: string, id: string, record: BatchRecord): Promise<void> {
    const { kind, at, array, messages, ids } = record;
    const count = messages.reduce((sum, { tasks }) => sum + tasks, 0);
    if (count > MAX_TASKS)
      throw new VgasError("TOO_LARGE", `a batch of ${count} tasks is not recorded, at most ${MAX_TASKS} are`);
    const bytes = encode({
      ...{ kind, at, array },
      messages: messages.map(({ sequence, tasks }) => `${sequence}+${tasks}`).join(" "),
      ...(ids?.some((each) => each !== undefined) && { ids: ids.map((each) => each ?? "").join(" ") }),
    });
    const parts = Math.max(1, Math.ceil(bytes.length / PART_BYTES));
    const part = (n: number): Uint8Array => bytes.subarray(n * PART_BYTES, (n + 1) * PART_BYTES);
    const further = Array.from({ length: parts - 1 }, (_, i) =>
      this.#bucket.put(this.#names.batchKey(pool, id, i + 1), part(i + 1)),
    );
    await Promise.all(further);
    await this.#bucket.put(this.#names.batchKey(pool, id), encode({ v: 1, parts, data: part(0) }));
  }

  /**
   * The ids of its tasks in their order, and their kind.
   *
   * @throws VgasError NOT_FOUND if there is no such batch, INTERNAL if what is kept is no record; as `KvBucket.get`
   */
  async read(pool: string, id: string): Promise<{ readonly kind: string; readonly ids: readonly string[] }> {
    const entry = await this.#bucket.get(this.#names.batchKey(pool, id));
    if (entry === undefined) throw new VgasError("NOT_FOUND", `there is no batch ${id} in pool ${pool}`);
    const damaged = (): VgasError => new VgasError("INTERNAL", `what is kept of batch ${id} cannot be read`);
    const first = head.safeParse(decodeOr(entry.value));
    if (!first.success) throw damaged();
    const { parts, data } = first.data;
    const further = await Promise.all(
      Array.from({ length: parts - 1 }, (_, i) => this.#bucket.get(this.#names.batchKey(pool, id, i + 1))),
    );
    const whole = Buffer.concat([data, ...further.map((each) => each?.value ?? new Uint8Array())]);
    const parsed = content.safeParse(decodeOr(whole));
    if (!parsed.success) throw damaged();
    const automatic = automaticIds(parsed.data.messages, parsed.data.array);
    if (automatic === undefined) throw damaged();
    const own = parsed.data.ids?.split(" ") ?? [];
    return { kind: parsed.data.kind, ids: automatic.map((each, i) => own[i] || each) };
  }
}

/** Undefined if it is no list of messages. */
function automaticIds(messages: string, array: boolean): string[] | undefined {
  const ids: string[] = [];
  for (const message of messages.split(" ")) {
    const [sequence = 0, tasks = 0, ...more] = message.split("+").map(Number);
    const whole = more.length === 0 && [sequence, tasks].every((each) => Number.isSafeInteger(each) && each > 0);
    if (!whole || ids.length + tasks > MAX_TASKS) return undefined;
    for (let i = 0; i < tasks; i++) ids.push(automaticId(sequence, array ? i : undefined));
  }
  return ids;
}

function decodeOr(bytes: Uint8Array): unknown {
  try {
    return decode(bytes);
  } catch {
    return undefined;
  }
}
