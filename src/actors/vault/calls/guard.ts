/**
 * Decides where a brokered call may go.
 *
 * 1. The URL's origin (scheme, host and port, in the form that URL gives it) is one of the key's.
 * 2. The host's addresses are asked for once, by ourselves, and every one of them is allowed.
 * 3. The connection goes to these very addresses, so that a name that answers differently the next time changes nothing.
 */
import { promises as dns } from "node:dns";
import type { LookupFunction } from "node:net";
import { isIP } from "node:net";
import { VgasError } from "../../../protocols/errors.ts";
import type { ResolvedKeySettings } from "../../../protocols/vault/keys.ts";
import { classify } from "./addresses.ts";

export interface Address {
  readonly address: string;
  readonly family: number;
}

/** All addresses of a name; rejects with an error that has a `code` as those of node:dns. */
export type Lookup = (hostname: string) => Promise<readonly Address[]>;

export const systemLookup: Lookup = (hostname) => dns.lookup(hostname, { all: true, verbatim: true });

type Limits = Pick<ResolvedKeySettings, "origins" | "allowPrivate">;

/** The URL of a call. Throws INVALID for what is none, PERMISSION_DENIED for what the key may not be sent to. */
export function checkUrl(text: string, { origins, allowPrivate }: Limits): URL {
  const url = parse(text);
  if (url.username !== "" || url.password !== "")
    throw new VgasError("PERMISSION_DENIED", `a call to ${url.origin} must not carry a user or a password in its URL`);
  if (!origins.includes(url.origin)) {
    const allowed =
      origins.length === 0
        ? "no calls are allowed with this key; give it an --origin"
        : `allowed is ${origins.join(", ")}`;
    throw new VgasError("PERMISSION_DENIED", `this key may not be sent to ${clip(url.origin)}; ${allowed}`);
  }
  if (url.protocol !== "https:" && !allowPrivate) throw unencrypted(url);
  return url;
}

/** The addresses that the call may be connected to, at least one. Rejects with PERMISSION_DENIED, or UPSTREAM_FAILED. */
export async function resolveUrl(url: URL, { allowPrivate }: Limits, lookup: Lookup): Promise<readonly Address[]> {
  const host = hostOf(url);
  const version = isIP(host);
  const addresses = version === 0 ? await resolve(url, host, lookup) : [{ address: host, family: version }];
  for (const { address } of addresses) {
    const kind = classify(address);
    // Which address it was is not told: an agent could map the network of the vault's host.
    if (kind === "forbidden")
      throw new VgasError("PERMISSION_DENIED", `${url.origin} leads to an address that no call may go to`);
    if (kind === "private" && !allowPrivate)
      throw new VgasError(
        "PERMISSION_DENIED",
        `${url.origin} leads to a private address, and this key is for public ones (see --allow-private)`,
      );
    if (kind === "public" && url.protocol !== "https:") throw unencrypted(url);
  }
  return addresses;
}

/** For node:http: answers with the addresses that were checked, whatever it is asked. */
export function pinned(addresses: readonly Address[]): LookupFunction {
  return (_hostname, options, callback) => {
    const [first] = addresses;
    if (options.all === true) callback(null, [...addresses]);
    else callback(null, first?.address ?? "", first?.family ?? 0);
  };
}

/** Without the brackets of an IPv6 address. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, "");
}

function parse(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new VgasError("INVALID", "url is not an absolute URL");
  }
  if (url.protocol !== "https:" && url.protocol !== "http:")
    throw new VgasError("INVALID", `url must be https or http, and is ${clip(url.protocol)}`);
  return url;
}

async function resolve(url: URL, host: string, lookup: Lookup): Promise<readonly Address[]> {
  try {
    const addresses = await lookup(host);
    if (addresses.length > 0) return addresses;
  } catch (error) {
    throw new VgasError("UPSTREAM_FAILED", `the name of ${url.origin} could not be resolved${codeOf(error)}`);
  }
  throw new VgasError("UPSTREAM_FAILED", `the name of ${url.origin} has no address`);
}

/**
 * `: ECONNREFUSED`, or nothing. Only the code of a system's, TLS or parser's error is ever told on, and no `cause` is kept: their
 * messages and fields hold addresses, and bytes that the server sent.
 */
export function codeOf(error: unknown): string {
  const code: unknown = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" && /^[A-Z][A-Z0-9_]{1,63}$/.test(code) ? `: ${code}` : "";
}

function unencrypted(url: URL): VgasError {
  return new VgasError(
    "PERMISSION_DENIED",
    `${url.origin} is not encrypted: keys are sent that way to private addresses only, if the key allows these`,
  );
}

function clip(text: string): string {
  return text.length <= 300 ? text : `${text.slice(0, 300)}…`;
}
