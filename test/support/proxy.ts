/** A TCP proxy that can lose, delay or split what goes through it, in each direction for itself, or end the connections. */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { Flow, noTrouble, type Struck, type Trouble } from "./flow.ts";

/** A client's socket, the server's, and what flows to either. */
interface Joint {
  readonly sockets: readonly [Socket, Socket];
  readonly flows: readonly [Flow, Flow];
}

export class TcpProxy {
  /** What the client sends meets this. */
  readonly toServer: Trouble = noTrouble();
  /** What the server sends meets this. */
  readonly toClient: Trouble = noTrouble();
  /** What was done so far in both directions. */
  readonly struck: Struck & { resets: number; noticed: number } = {
    ...{ dropped: 0, delayed: 0, pieces: 0 },
    /** Connections that were reset. */
    resets: 0,
    /** Connections that had lost something when one of the ends gave them up. */
    noticed: 0,
  };
  readonly #target: number;
  readonly #server: Server;
  readonly #joints = new Set<Joint>();
  #onDrop: ((bytes: Buffer) => void) | undefined;

  constructor(targetPort: number) {
    this.#target = targetPort;
    this.#server = createServer((client) => this.#join(client));
  }

  static async to(targetPort: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(targetPort);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy does not listen");
    return `nats://127.0.0.1:${address.port}`;
  }

  /** While true, what the server sends is thrown away. */
  get deaf(): boolean {
    return this.toClient.drop;
  }

  set deaf(deaf: boolean) {
    this.toClient.drop = deaf;
  }

  /** Bytes thrown away so far: shows that the fault struck. */
  get dropped(): number {
    return this.struck.dropped;
  }

  /** Connections now. */
  get connections(): number {
    return this.#joints.size;
  }

  /** Resolves when something is thrown away that holds `text`; a server sends more than what it is asked for, a PING for one. */
  nextDrop(text = ""): Promise<void> {
    return new Promise((resolve) => {
      let lost = "";
      this.#onDrop = (bytes) => {
        lost += bytes.toString("latin1");
        if (lost.includes(text)) resolve();
      };
    });
  }

  /** Ends all connections; new ones are taken. */
  cut(): void {
    for (const { sockets } of this.#joints) for (const socket of sockets) socket.destroy();
  }

  /** Ends all connections as a machine does that knows nothing of them (RST); new ones are taken. */
  reset(): void {
    for (const { sockets } of this.#joints) {
      this.struck.resets++;
      for (const socket of sockets) socket.resetAndDestroy();
    }
  }

  /**
   * No trouble from now on. Connections that lost something end: TCP hands nothing on behind what it lost, and neither
   * end would know what to make of it.
   */
  heal(): void {
    Object.assign(this.toServer, noTrouble());
    Object.assign(this.toClient, noTrouble());
    for (const joint of this.#joints) {
      if (!joint.flows.some(({ lossy }) => lossy)) continue;
      this.#joints.delete(joint);
      for (const socket of joint.sockets) socket.destroy();
    }
  }

  async close(): Promise<void> {
    this.#server.close();
    this.cut();
    if (this.#server.listening) await once(this.#server, "close");
  }

  #join(client: Socket): void {
    const server = connect(this.#target, "127.0.0.1");
    const toServer = new Flow(server, this.toServer, this.struck);
    const toClient = new Flow(client, this.toClient, this.struck);
    const joint: Joint = { sockets: [client, server], flows: [toServer, toClient] };
    this.#joints.add(joint);
    for (const socket of joint.sockets) {
      socket.setNoDelay(true);
      // The other side's end is all that an error here means.
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        if (this.#joints.delete(joint) && joint.flows.some(({ lossy }) => lossy)) this.struck.noticed++;
        client.destroy();
        server.destroy();
      });
    }
    client.on("data", (bytes) => this.#hand(bytes, toServer));
    server.on("data", (bytes) => this.#hand(bytes, toClient));
  }

  #hand(bytes: Buffer, flow: Flow): void {
    if (flow.take(bytes)) this.#onDrop?.(bytes);
  }
}
