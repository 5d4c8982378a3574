/** The machine's network as far as discovery needs it; another one can be injected. */
import { createSocket } from "node:dgram";
import { networkInterfaces } from "node:os";
import type { AllInterfaces, LocalInterface } from "./interfaces.ts";

const MDNS_GROUP = "224.0.0.251";
export const MDNS_PORT = 5353;
/** RFC 6762, 11: so that a receiver can tell that a packet came from its own link. */
const MULTICAST_TTL = 255;

export interface Listener {
  message(bytes: Buffer, from: { readonly address: string; readonly port: number }): void;
  /** The socket has failed after it was open. */
  error(error: Error): void;
}

/** Datagrams from and to the mDNS group on one interface. */
export interface GroupSocket {
  /** Never throws. */
  send(bytes: Uint8Array, done: (error: Error | null) => void): void;
  /** Never throws; twice is once. */
  close(): void;
}

export interface Network {
  /** May throw where the system does not tell. */
  interfaces(): AllInterfaces;
  /** @throws Error of the system: EADDRINUSE, EACCES, ENODEV, … */
  open(on: LocalInterface, listener: Listener): Promise<GroupSocket>;
}

export const systemNetwork: Network = { interfaces: networkInterfaces, open };

async function open(on: LocalInterface, listener: Listener): Promise<GroupSocket> {
  const socket = createSocket({ type: "udp4", reuseAddr: true });
  let closed = false;
  const close = (): void => {
    if (closed) return;
    closed = true;
    socket.close();
  };
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      // Multicast reaches only a socket that is bound to every address.
      socket.bind({ port: MDNS_PORT, address: "0.0.0.0", exclusive: true }, () => {
        socket.removeListener("error", reject);
        resolve();
      });
    });
    socket.on("error", (error) => listener.error(error));
    socket.setMulticastInterface(on.address);
    socket.setMulticastTTL(MULTICAST_TTL);
    // Other nodes on this machine are peers too.
    socket.setMulticastLoopback(true);
    socket.addMembership(MDNS_GROUP, on.address);
  } catch (error) {
    close();
    throw error;
  }
  socket.on("message", (bytes, from) => {
    if (!closed) listener.message(bytes, from);
  });
  return {
    send(bytes, done) {
      try {
        if (closed) done(new Error("the socket is closed"));
        else socket.send(bytes, MDNS_PORT, MDNS_GROUP, done);
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)));
      }
    },
    close,
  };
}
