/** What of tasks was too large for a message: inputs and contexts are read for a run and removed with the task, outputs are put. */
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import { parseObjectRef } from "../protocols/object-ref.ts";
import type { ObjectRef } from "../protocols/result.ts";
import type { Names } from "../protocols/subjects.ts";
import type { Bus } from "./bus.ts";
import { decodeObject } from "./codec/object.ts";
import { readBody, type TaskEncoding } from "./codec/task.ts";
import { type ObjectOptions, Objects } from "./objects.ts";
import type { Publisher } from "./publisher.ts";

/** The fields of a task, as `readBody` gives them. */
type Fields = Readonly<Record<string, unknown>>;

const PARTS = ["input", "context"] as const;

/** Whether a task has parts in the store. nil counts as absent. */
export function hasObjects(fields: Fields): boolean {
  return fields["inputRef"] != null || fields["contextRef"] != null;
}

export interface TaskObjectsOptions {
  readonly bus: Bus;
  readonly publisher: Publisher;
  readonly names: Names;
  readonly logger: Logger;
}

export class TaskObjects {
  readonly #objects: Objects;
  readonly #names: Names;
  readonly #logger: Logger;

  constructor({ bus, publisher, names, logger }: TaskObjectsOptions) {
    this.#objects = new Objects(bus, publisher, names);
    this.#names = names;
    this.#logger = logger;
  }

  /**
   * The fields of the task with its input and context in their places.
   *
   * @throws VgasError INVALID, TOO_LARGE, OBJECT_MISSING, which no other attempt changes; TIMEOUT, ABORTED and others of the connection
   */
  async resolve(fields: Fields, encoding: TaskEncoding, options: ObjectOptions): Promise<Record<string, unknown>> {
    const whole: Record<string, unknown> = { ...fields };
    for (const part of PARTS) {
      const ref = this.#refOf(fields, part);
      if (ref === undefined) continue;
      if (fields[part] != null) throw new VgasError("INVALID", `${part} and ${part}Ref say the same: give one of them`);
      const bytes = await this.#objects.get(ref, options);
      try {
        whole[part] = decodeObject(bytes, encoding);
      } catch (cause) {
        throw new VgasError("INVALID", `${part}Ref: ${(cause as Error).message}`, { cause });
      }
    }
    return whole;
  }

  /**
   * Removes what the task of these bytes has in the store, as nothing will read it again: after a result that is no failure is stored.
   * Goes on by itself; what cannot be removed is dropped by the store in time.
   */
  removeOf(body: Uint8Array): void {
    for (const ref of this.#refsOf(body)) this.#remove(ref);
  }

  /** Stores an encoded output. @throws VgasError as `Objects.put` */
  async putOutput(bytes: Uint8Array): Promise<ObjectRef> {
    return await this.#objects.put("outputs", bytes);
  }

  /** Removes an output that no result names; goes on by itself. */
  dropOutput(ref: ObjectRef): void {
    this.#remove(ref);
  }

  #remove(ref: ObjectRef): void {
    this.#objects.remove(ref).catch((error: unknown) => {
      this.#logger.debug(
        { object: ref.name, bucket: ref.bucket, error: String(error) },
        "an object could not be removed",
      );
    });
  }

  #refsOf(body: Uint8Array): readonly ObjectRef[] {
    // Nearly no task has any, and to decode them all would cost more than to look.
    const text = Buffer.from(body.buffer, body.byteOffset, body.length);
    if (!PARTS.some((part) => text.includes(`${part}Ref`))) return [];
    try {
      const { fields } = readBody(body);
      return PARTS.map((part) => this.#refOf(fields, part)).filter((ref) => ref !== undefined);
    } catch (error) {
      if (error instanceof VgasError) return [];
      throw error;
    }
  }

  #refOf(fields: Fields, part: (typeof PARTS)[number]): ObjectRef | undefined {
    const ref = fields[`${part}Ref`];
    return ref == null ? undefined : parseObjectRef(`${part}Ref`, ref, this.#names.objectStores.inputs);
  }
}
