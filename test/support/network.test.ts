import { once } from "node:events";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { expect, it } from "vitest";
import { describeWith } from "./require.ts";
import { TestNetwork } from "./test-network.ts";
import { eventually } from "./wait.ts";

describeWith("network", TestNetwork.missing())("machines on a network of their own", () => {
  const network = new TestNetwork();

  it("reach each other while the link is there, and leave nothing running", async () => {
    const [a, b, far] = await Promise.all([network.machine(), network.machine(), network.machine({ segment: "far" })]);
    expect([a.address(), b.address(), far.address()]).toEqual(["10.77.0.2", "10.77.0.3", "10.78.0.2"]);
    const server = a.spawn(
      [
        "node",
        "-e",
        "require('net').createServer((s) => s.end('hello')).listen(80, '0.0.0.0', () => console.log('on'))",
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    const ended = once(server, "exit");
    if (server.stdout) await once(createInterface(server.stdout), "line");
    /** What the server says to a machine: `hello`, or the error's code. */
    const ask = async (from: typeof b, timeout = 60_000): Promise<string> => {
      const dial = `require('net').connect({ host: '${a.address()}', port: 80, timeout: ${timeout} })
        .on('data', (d) => console.log(String(d))).on('error', (e) => console.log(e.code))
        .on('timeout', function () { console.log('silence'); this.destroy(); })`;
      return (await from.run("node", "-e", dial)).trim();
    };
    expect(await ask(b)).toBe("hello");
    // There is a default route, and nobody on that cable who answers.
    expect(await ask(far, 200)).not.toBe("hello");
    const port = await a.forward(80);
    const socket = connect(port, "127.0.0.1");
    expect(String((await once(socket, "data"))[0])).toBe("hello");
    await b.cut();
    expect(await ask(b, 200)).not.toBe("hello");
    await b.heal();
    expect(await ask(b)).toBe("hello");
    await a.changeAddress("10.77.9.9");
    expect(await ask(b)).toBe("hello");
    await b.pullCable();
    const interfaces = (): Promise<string> => b.run("node", "-p", "Object.keys(os.networkInterfaces()).join()");
    await eventually(async () => (await interfaces()) === "lo\n" || undefined, "the machine to see it");
    await b.plugCable();
    expect(await b.plugIn()).toBe("10.77.0.4");
    await network.close();
    expect((await ended)[1]).toBe("SIGKILL");
  });
});
