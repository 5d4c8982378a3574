/** How a server is told apart from whoever answers at its address: the one place where the options of TLS are made. */
import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { checkServerIdentity } from "node:tls";
import { VgasError } from "../protocols/errors.ts";

/** What the server has to show. Nothing of it, and no `tls://` in an address: TLS is not demanded. */
export interface ServerIdentity {
  /** PEM of the certificate authority to trust, instead of those of the system. */
  readonly ca?: string | undefined;
  /**
   * Name that its certificate must hold, instead of the address that is dialled: the server is a broker of vgas, which takes
   * the handshake first.
   */
  readonly serverName?: string | undefined;
}

interface TlsOptions {
  readonly rejectUnauthorized: true;
  readonly minVersion: "TLSv1.2";
  readonly ca?: string;
  readonly servername?: string;
  readonly handshakeFirst?: true;
  readonly checkServerIdentity?: typeof checkServerIdentity;
}

/**
 * The `tls` options of nats.js for these servers, undefined where plain text will do. With them nats.js refuses a server
 * that offers no TLS before it says anything to it.
 *
 * @throws VgasError CONFIG if `ca` holds no certificate
 */
export function tlsOptions(servers: readonly string[], identity: ServerIdentity): TlsOptions | undefined {
  const { ca, serverName } = identity;
  const demanded = ca !== undefined || serverName !== undefined || servers.some((url) => url.startsWith("tls://"));
  if (!demanded) return undefined;
  if (ca !== undefined) requireCertificate(ca);
  return {
    // Said in so many words: NODE_TLS_REJECT_UNAUTHORIZED=0 in the environment is then without effect.
    rejectUnauthorized: true,
    minVersion: "TLSv1.2",
    ...(ca !== undefined && { ca }),
    ...(serverName === undefined ? byAddress(servers) : { servername: serverName, handshakeFirst: true }),
  };
}

function requireCertificate(pem: string): void {
  try {
    new X509Certificate(pem);
  } catch (cause) {
    throw new VgasError("CONFIG", "the certificate authority (ca, caFile, --nats-ca) is no certificate in PEM", {
      cause,
    });
  }
}

/**
 * nats.js does not tell node:tls which address it dialled where that is no name, and node:tls then looks for "localhost":
 * the certificate has to be for one of the addresses instead.
 */
function byAddress(servers: readonly string[]): Pick<TlsOptions, "checkServerIdentity"> {
  const addresses = servers.map(hostOf).filter((host) => isIP(host) !== 0);
  if (addresses.length === 0) return {};
  const names = new Set(servers.map(hostOf));
  return {
    checkServerIdentity: (name, certificate) => {
      if (names.has(name)) return checkServerIdentity(name, certificate);
      const failures = addresses.map((address) => checkServerIdentity(address, certificate));
      return failures.includes(undefined) ? undefined : failures[0];
    },
  };
}

/** What nats.js says of a server without TLS. */
const NO_TLS = "server does not support 'tls'";

/** Codes of node:tls for a certificate that does not prove what it has to. */
const CERTIFICATE_CODES =
  /^(?:ERR_TLS_CERT|CERT_|CRL_|DEPTH_ZERO_SELF_SIGNED_CERT$|SELF_SIGNED_CERT_IN_CHAIN$|UNABLE_TO_(?:GET|DECRYPT|DECODE|VERIFY)_|INVALID_(?:CA|PURPOSE)$|PATH_LENGTH_EXCEEDED$|HOSTNAME_MISMATCH$|ERR_SSL_)/;

/** Whether a connection failed because who answered did not prove to be the server, or spoke no TLS at all. */
export function isCertificateError(thrown: unknown): boolean {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    if ("code" in error && typeof error.code === "string" && CERTIFICATE_CODES.test(error.code)) return true;
    if (error.message === NO_TLS) return true;
  }
  return false;
}

/** Whether the certificate is the right one, but one that is not good yet or no more, by this machine's clock. */
export function isOutsideItsTime(thrown: unknown): boolean {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    if ("code" in error && (error.code === "CERT_NOT_YET_VALID" || error.code === "CERT_HAS_EXPIRED")) return true;
  }
  return false;
}

/** Whether who answered spoke plain text. */
export function isWithoutTls(thrown: unknown): boolean {
  return isMissedHandshake(thrown) || (thrown instanceof Error && thrown.message === NO_TLS);
}

/** A broker that has waited too long for the handshake of a slow client speaks plain text; the next try can be faster. */
export function isMissedHandshake(thrown: unknown): boolean {
  return (
    thrown instanceof Error && /wrong version number|packet length too long|unexpected message/i.test(thrown.message)
  );
}

/** The host of `tls://host:port` or `tls://[v6]:port`. */
export function hostOf(url: string): string {
  const [, bracketed, plain] = /^(?:[a-z]+:\/\/)?(?:\[([^\]]*)\]|([^:/]*))/i.exec(url) ?? [];
  return bracketed ?? plain ?? "";
}
