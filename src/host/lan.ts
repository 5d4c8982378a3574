/**
 * What a node that leads a swarm on a network has for it: a certificate that other machines can check, and the door by which
 * they are let in.
 *
 * The certificate is looked at every ten seconds: it is made anew when it grows old or the machine's addresses change, and the
 * servers go on with the new one while everybody stays connected.
 */
import { hostname, networkInterfaces } from "node:os";
import { AdmissionDoor } from "../admission/door.ts";
import { type Authority, ensureAuthority } from "../bus/certificates/authority.ts";
import { ensureServerCertificate, type ServerCertificate } from "../bus/certificates/server-certificate.ts";
import type { Home } from "../bus/home/home.ts";
import type { NatsServer } from "../bus/nats-server/server.ts";
import type { HttpServer, LanAccess } from "../http/server.ts";
import type { Clock } from "../protocols/clock.ts";
import type { Logger } from "../protocols/logger.ts";

export interface LanOptions {
  readonly home: Home;
  readonly clock: Clock;
  readonly logger: Logger;
}

const SHUT = {
  status: 503,
  body: { error: { code: "SHUTTING_DOWN", message: "the node starts or stops; try again", retryable: true } },
};
const LOOK_MS = 10_000;

export class Lan {
  readonly authority: Authority;
  readonly door: AdmissionDoor;
  readonly #options: LanOptions;
  #certificate: ServerCertificate;
  #server: NatsServer | undefined;
  #renewal: Promise<void> | undefined;

  private constructor(options: LanOptions, authority: Authority, certificate: ServerCertificate) {
    this.#options = options;
    this.authority = authority;
    this.#certificate = certificate;
    this.door = new AdmissionDoor({ ...options, authority, natsPort: () => this.#server?.port ?? 0 });
  }

  /** Makes the authority and the certificate if they are not there. @throws VgasError CONFIG */
  static async open(options: LanOptions): Promise<Lan> {
    const { home, clock } = options;
    const authority = await ensureAuthority(home.layout, clock);
    return new Lan(options, authority, await certificateOf(home, clock));
  }

  get certificate(): ServerCertificate {
    return this.#certificate;
  }

  /** `address:port` of the door, for each address that other machines may know. */
  doors(port: number): readonly string[] {
    return addresses().map((address) => `${address}:${port}`);
  }

  /** What the HTTP server needs. The door is shut while the node starts and stops: a credential would open nothing then. */
  http(isOpen: () => boolean): LanAccess {
    return {
      certificate: this.#certificate,
      bearer: (token) => this.door.checkBearer(token),
      join: async (request) => (isOpen() ? await this.door.handle(request) : SHUT),
    };
  }

  /** Keeps the certificate of both servers right. Returns what ends that, and closes the door. */
  serve(server: NatsServer, http: HttpServer | undefined): () => Promise<void> {
    this.#server = server;
    const { clock } = this.#options;
    const timer = clock.setInterval(() => {
      this.#renewal ??= this.#renew(server, http).finally(() => {
        this.#renewal = undefined;
      });
    }, LOOK_MS);
    return async () => {
      clock.clear(timer);
      this.door.stop();
      await this.#renewal;
    };
  }

  /** Never rejects: the servers go on with the certificate that they have. */
  async #renew(server: NatsServer, http: HttpServer | undefined): Promise<void> {
    const { home, clock, logger } = this.#options;
    try {
      const certificate = await certificateOf(home, clock);
      if (certificate.certificatePem === this.#certificate.certificatePem) return;
      await server.useCertificate(certificate);
      http?.useCertificate(certificate);
      // Only now: what failed half way is tried again.
      this.#certificate = certificate;
      logger.info({ until: new Date(certificate.notAfter).toISOString() }, "the server's certificate is a new one");
    } catch (error) {
      logger.error({ error: String(error) }, "the server's certificate could not be renewed; tries again");
    }
  }
}

/** IPv4 only, as the servers listen; and IPv6 addresses that change for privacy would make a new certificate each time. */
function certificateOf({ layout, hostId }: Home, clock: Clock): Promise<ServerCertificate> {
  return ensureServerCertificate(layout, { names: [hostname(), `${hostId}.local`], addresses: addresses() }, clock);
}

function addresses(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap((all = []) =>
    all.filter(({ internal, family }) => !internal && family === "IPv4").map(({ address }) => address),
  );
}
