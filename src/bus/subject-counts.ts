import type { Bus } from "./bus.ts";
import { jsApiFind } from "./js-api.ts";

/**
 * How many messages `stream` holds under each subject that `filter` covers; nothing if there is no such stream. In the task
 * stream these are the tasks that are not finished.
 *
 * @throws VgasError PERMISSION_DENIED, TIMEOUT
 */
export async function subjectCounts(bus: Bus, stream: string, filter: string): Promise<ReadonlyMap<string, number>> {
  const info = await jsApiFind(bus, `counting the messages of ${stream}`, (manager) =>
    manager.streams.info(stream, { subjects_filter: filter }),
  );
  return new Map(Object.entries(info?.state.subjects ?? {}));
}
