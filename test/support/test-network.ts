/** A network for a test file. */
import { afterAll } from "vitest";
import { Network } from "./network.ts";

/** For the enclosing `describe`: it ends with that, or by `close`. */
export class TestNetwork extends Network {
  constructor() {
    super();
    afterAll(() => this.close());
  }
}
