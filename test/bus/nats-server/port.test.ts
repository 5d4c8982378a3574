import { once } from "node:events";
import { createServer } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { pickPort, requirePort } from "../../../src/bus/nats-server/port.ts";

describe("the broker's port", () => {
  it("is picked below those that the system gives to outgoing connections", async () => {
    const port = await pickPort("127.0.0.1");
    expect(port).toBeGreaterThanOrEqual(20_000);
    expect(port).toBeLessThan(32_000);
    await requirePort("127.0.0.1", port);
  });

  it("is refused with who to ask and what to do when somebody listens there", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    const error = await requirePort("127.0.0.1", port).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "CONFIG" });
    expect(String(error)).toMatch(new RegExp(`port ${port} .*(ss|lsof) .*${port}.*--nats-port N, where 0`));
  });

  it("is refused on an address that this machine does not have", async () => {
    await expect(requirePort("192.0.2.1", 20_001)).rejects.toMatchObject({ code: "CONFIG" });
  });
});
