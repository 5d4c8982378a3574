/** Three real nats-servers that are one cluster, on this machine; anybody may connect. */
import { freePort, TestNats } from "./nats.ts";

const NAME = "test";

export class TestCluster {
  readonly servers: readonly TestNats[];

  private constructor(servers: readonly TestNats[]) {
    this.servers = servers;
  }

  static async make(): Promise<TestCluster> {
    const ports = [await freePort(), await freePort(), await freePort()];
    const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(", ");
    return new TestCluster(
      ports.map((port, i) => {
        const cluster = `cluster { name: ${NAME}, listen: "127.0.0.1:${port}", routes: [${routes}] }`;
        return new TestNats({ config: `server_name: s${i}\n${cluster}` });
      }),
    );
  }

  /** All of them, as `--nats` takes it. */
  get url(): string {
    return this.servers.map(({ url }) => url).join(",");
  }

  async start(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.start()));
  }

  async close(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.close()));
  }
}
