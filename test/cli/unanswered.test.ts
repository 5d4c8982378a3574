import { expect, test } from "vitest";
import { Names } from "../../src/protocols/subjects.ts";
import { useNats } from "../support/nats.ts";
import { vgas } from "./in-process.ts";
import { temporary } from "./support.ts";

const nats = useNats();

test("a task that nobody says to have stored ends the wait after --timeout with exit code 5", async () => {
  // As a server whose disk was full: it takes the message, and answers nothing.
  const bus = await nats.bus();
  await bus.subscribe(new Names().task("default", "echo"), () => undefined);
  const { code, out, err } = await vgas([
    "submit",
    "echo",
    "--timeout",
    "300",
    "--nats",
    nats.url,
    "--home",
    temporary(),
  ]);
  expect(err).toContain("submitting to default/echo timed out after 300 ms");
  expect(out).toBe("");
  expect(code).toBe(5);
});
