/**
 * The first contact with a swarm whose certificate authority is not at hand: a TLS handshake and nothing behind it.
 *
 * 1. The connection carries no byte of ours but the handshake's own: it is cut as soon as the certificates are there, before
 *    they are judged. Whoever answers learns nothing but that somebody called.
 * 2. What counts is the signature: the authority that a chain shows must have signed the certificate that the handshake
 *    proved, for anybody can append a copy of an authority's certificate.
 *
 * Whoever calls it connects anew afterwards, with that authority and OpenSSL's ordinary verification.
 */
import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { connect, type DetailedPeerCertificate } from "node:tls";
import { VgasError } from "../../protocols/errors.ts";
import { validityOf } from "./authority.ts";
import type { Validity } from "./make.ts";
import { pinOf, samePin } from "./pin.ts";

/** The authority behind whoever answered. */
export interface FirstContact {
  readonly caPem: string;
  readonly pin: string;
}

export interface ContactOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * Learns the certificate authority of the TLS server at `to`. With `wanted.pin` it must be that one, with
 * `wanted.serverName` the server's certificate must hold that name. The certificates must be good now.
 *
 * @throws VgasError NO_SWARM if nobody answers in time or what answers speaks no TLS; CERTIFICATE_MISMATCH; ABORTED
 */
export async function firstContact(
  to: { readonly host: string; readonly port: number },
  wanted: { readonly pin?: string; readonly serverName?: string },
  options: ContactOptions,
): Promise<FirstContact> {
  const where = nameOf(to);
  const shown = await handshake(to, where, wanted.serverName, options);
  return judge(shown, where, wanted);
}

/**
 * When the certificates that the server at `to` shows are good: its own, and the authority's behind it. It proves nothing.
 *
 * @throws VgasError as `firstContact`
 */
export async function shownValidity(
  to: { readonly host: string; readonly port: number },
  serverName: string | undefined,
  options: ContactOptions,
): Promise<Validity> {
  return validityOfBoth(await handshake(to, nameOf(to), serverName, options));
}

export function isNow({ fromMs, untilMs }: Validity): boolean {
  const now = Date.now();
  return now >= fromMs && now < untilMs;
}

/** A certificate that is the right one, and not good by this machine's clock. `validity` if it is known. */
export function wrongTime(where: string, validity: Validity | undefined, cause?: unknown): VgasError {
  const iso = (ms: number): string => new Date(ms).toISOString();
  const span =
    validity === undefined
      ? "is not good then"
      : `is valid from ${iso(validity.fromMs)} until ${iso(validity.untilMs)}`;
  return new VgasError(
    "CERTIFICATE_MISMATCH",
    `this machine's clock says ${iso(Date.now())}, and the certificate of what answers at ${where} ${span}: set the clock; if it is right, set that of the swarm's machine and start its node again (\`vgas up --lan\`). Until then every try ends like this`,
    cause === undefined ? {} : { cause },
  );
}

function nameOf({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
}

interface Shown {
  readonly leaf: X509Certificate;
  readonly issuer: X509Certificate | undefined;
}

function handshake(
  to: { readonly host: string; readonly port: number },
  where: string,
  serverName: string | undefined,
  { timeoutMs, signal }: ContactOptions,
): Promise<Shown> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(aborted(where, signal));
      return;
    }
    const socket = connect({
      ...to,
      // Judged below, by its pin: nothing is sent before.
      rejectUnauthorized: false,
      minVersion: "TLSv1.3",
      ...(serverName !== undefined && { servername: serverName }),
    });
    const fail = (error: VgasError): void => {
      end();
      reject(error);
    };
    const onAbort = (): void => fail(aborted(where, signal));
    const timer = setTimeout(() => fail(nobody(where, `no answer within ${timeoutMs} ms`)), timeoutMs);
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      socket.destroy();
    };
    signal?.addEventListener("abort", onAbort);
    // Stays: a destroyed socket may still report an error, and without a listener that would end the process.
    socket.on("error", (error) => fail(nobody(where, error.message, error)));
    socket.on("close", () => fail(nobody(where, "it hung up")));
    socket.once("secureConnect", () => {
      const certificate = socket.getPeerCertificate(true);
      end();
      try {
        resolve(certificatesOf(certificate));
      } catch (cause) {
        reject(mismatch(where, "shows a certificate that cannot be read", cause));
      }
    });
  });
}

function certificatesOf(certificate: DetailedPeerCertificate): Shown {
  const issuer = certificate.issuerCertificate as DetailedPeerCertificate | undefined;
  return { leaf: new X509Certificate(certificate.raw), issuer: issuer && new X509Certificate(issuer.raw) };
}

function judge({ leaf, issuer }: Shown, where: string, wanted: { pin?: string; serverName?: string }): FirstContact {
  if (issuer === undefined) throw mismatch(where, "does not show the authority of its certificate");
  const signed = issuer.ca && leaf.checkIssued(issuer) && leaf.verify(issuer.publicKey);
  if (!signed) throw mismatch(where, "shows a certificate that the authority behind it did not sign");
  if (leaf.ca || !issuer.checkIssued(issuer) || !issuer.verify(issuer.publicKey)) {
    throw mismatch(where, "shows a certificate of no swarm");
  }
  const pin = pinOf(issuer);
  if (wanted.pin !== undefined && !samePin(pin, wanted.pin)) throw mismatch(where, "is of another swarm");
  if (wanted.serverName !== undefined && leaf.checkHost(wanted.serverName, { subject: "never" }) === undefined) {
    throw mismatch(where, `shows a certificate that is not for ${wanted.serverName}`);
  }
  const validity = validityOfBoth({ leaf, issuer });
  if (!isNow(validity)) throw wrongTime(where, validity);
  return { caPem: issuer.toString(), pin };
}

function validityOfBoth({ leaf, issuer }: Shown): Validity {
  const own = validityOf(leaf);
  const behind = issuer === undefined ? own : validityOf(issuer);
  return { fromMs: Math.max(own.fromMs, behind.fromMs), untilMs: Math.min(own.untilMs, behind.untilMs) };
}

function mismatch(where: string, what: string, cause?: unknown): VgasError {
  return new VgasError(
    "CERTIFICATE_MISMATCH",
    `what answers at ${where} ${what}: check the address and the token; if both are right, somebody is between you and the swarm`,
    cause === undefined ? {} : { cause },
  );
}

function nobody(where: string, why: string, cause?: unknown): VgasError {
  return new VgasError(
    "NO_SWARM",
    `no swarm answered at ${where} over TLS (${why}): check the address, and that the node there runs with --lan`,
    cause === undefined ? {} : { cause },
  );
}

function aborted(where: string, signal: AbortSignal | undefined): VgasError {
  return new VgasError("ABORTED", `connecting to ${where} was aborted`, { cause: signal?.reason });
}
