/** Results whose output is in the object store, as if it were in the result. */
import { decodeObject, objectEncoding } from "../bus/codec/object.ts";
import type { ObjectOptions, Objects } from "../bus/objects.ts";
import { VgasError } from "../protocols/errors.ts";
import { parseObjectRef } from "../protocols/object-ref.ts";
import type { TaskResult } from "../protocols/result.ts";
import type { Names } from "../protocols/subjects.ts";

export class Outputs {
  readonly #objects: Pick<Objects, "get">;
  readonly #names: Names;

  constructor(objects: Pick<Objects, "get">, names: Names) {
    this.#objects = objects;
    this.#names = names;
  }

  /**
   * The result with its output: itself, unless it has an `outputRef`.
   *
   * @throws VgasError OBJECT_MISSING if the output is gone or is another; INVALID for a reference to something else; TIMEOUT, ABORTED,
   *   PERMISSION_DENIED
   */
  async fetch<Output>(result: TaskResult<Output>, options: ObjectOptions = {}): Promise<TaskResult<Output>> {
    const { outputRef, ...rest } = result;
    if (outputRef === undefined) return result;
    const ref = parseObjectRef("outputRef", outputRef, this.#names.objectStores.outputs);
    const bytes = await this.#objects.get(ref, options);
    return { ...rest, output: decodeObject(bytes, objectEncoding(bytes)) as Output };
  }

  /**
   * As `fetch` for one of many: larger than `maxBytes`, or gone, it stays a reference.
   *
   * @throws VgasError TIMEOUT, ABORTED, PERMISSION_DENIED
   */
  async fetchIfSmall(result: TaskResult, maxBytes: number, options: ObjectOptions = {}): Promise<TaskResult> {
    const { outputRef } = result;
    if (outputRef === undefined || !(outputRef.bytes <= maxBytes)) return result;
    try {
      return await this.fetch(result, options);
    } catch (error) {
      if (error instanceof VgasError && (error.code === "OBJECT_MISSING" || error.code === "INVALID")) return result;
      throw error;
    }
  }
}
