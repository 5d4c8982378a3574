/** Submits so that there are always as many tasks in flight. */
import { Publisher } from "../../src/bus/publisher.ts";
import type { BenchBroker } from "../swarm.ts";

/** Submits `tasks` copies of `body`, each as soon as there is room among `inFlight`, and resolves when every result was heard. */
export async function keepInFlight(
  { bus, names }: BenchBroker,
  subject: string,
  body: Uint8Array,
  inFlight: number,
  tasks: number,
): Promise<void> {
  const publisher = new Publisher(bus);
  let submitted = 0;
  const submit = (): void => {
    submitted++;
    publisher.send(subject, body, undefined, (error) => {
      if (error) throw error;
    });
  };
  let heard = 0;
  let allHeard = (): void => undefined;
  const done = new Promise<void>((resolve) => {
    allHeard = resolve;
  });
  const subscription = await bus.subscribe(names.result("default", "*"), () => {
    if (submitted < tasks) submit();
    if (++heard === tasks) allHeard();
  });
  while (submitted < Math.min(inFlight, tasks)) submit();
  await done;
  subscription.unsubscribe();
  publisher.close();
}
