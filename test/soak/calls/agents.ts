/** An agent that says how far it is, for the events of the soak. */
import { defineAgent } from "vgas";

export default defineAgent<number, number>({
  kind: "steps",
  instances: 2,
  slots: 16,
  run({ input }, { progress }) {
    for (let step = 1; step <= input; step++) progress({ step });
    return input;
  },
});
