/**
 * `fetch` by way of the vault: the vault's host makes the request with the key in it, and nobody here ever sees the key.
 *
 * What is different from the `fetch` of Node: credentials of the caller's own are not sent, cookies do not come back, errors are
 * VgasErrors instead of a TypeError, and the body of a request may have at most 64 MiB and no content-encoding. Parts of an answer
 * (`range`) cannot be asked for: it comes whole.
 */
import { CREDENTIAL_HEADERS } from "../../protocols/vault/credential-headers.ts";
import type { Usage } from "../../protocols/vault/keys.ts";
import { requestBody, type UploadBody } from "./vault-fetch-body.ts";
import { BrokeredCall, type BrokerPort } from "./vault-fetch-call.ts";

export type { BrokerPort } from "./vault-fetch-call.ts";

export interface BrokeredFetchOptions {
  readonly provider: string;
  readonly grant: Uint8Array;
  /** Of the run: ends the call. */
  readonly signal: AbortSignal;
  /** What a call counted, as soon as that is known: before the end of its body is. Not called if it cannot be found out. */
  onUsage(usage: Usage): void;
}

const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const NULL_BODY = new Set([204, 205, 304]);
/** These describe a body, and go with it. */
const BODY_HEADERS = ["content-encoding", "content-language", "content-location", "content-length", "content-type"];

interface Target {
  readonly method: string;
  readonly url: URL;
  readonly headers: Headers;
  readonly body: UploadBody | undefined;
}

/**
 * Takes what `fetch` takes and resolves with a real Response, whose body is read from the vault as it is consumed.
 *
 * Rejects with the reason of the signal that fired; with a TypeError for what `fetch` would not take or a redirect it would not
 * follow; and with a VgasError: PERMISSION_DENIED, UPSTREAM_FAILED, TOO_LARGE, TIMEOUT (whether the call was made is unknown), and
 * all that the vault refuses with. A body that breaks off later rejects its reader with the VgasError.
 */
export async function brokeredFetch(
  port: BrokerPort,
  options: BrokeredFetchOptions,
  input: string | URL | Request,
  init?: RequestInit,
): Promise<Response> {
  // A stream as the body needs the word `duplex` in Node, which callers of `fetch` tend to forget.
  const request = new Request(input, { duplex: "half", ...init });
  const signals = [options.signal, request.signal];
  for (const signal of signals) signal.throwIfAborted();
  let target: Target = {
    method: request.method,
    url: withoutFragment(new URL(request.url)),
    headers: withDefaults(request.headers),
    body: await requestBody(request, init),
  };
  for (let redirects = 0; ; redirects++) {
    const call = await BrokeredCall.open(port, { ...options, signals, ...wireForm(target) }, target.body);
    const first = await call.first();
    const location = REDIRECTS.has(first.head.status) ? new Headers(first.head.headers).get("location") : null;
    if (location === null || request.redirect === "manual") {
      const bodiless = target.method === "HEAD" || NULL_BODY.has(first.head.status);
      if (bodiless) await call.drain(first);
      const body = bodiless ? null : call.body(first);
      return present(new Response(body, first.head), target.url.href, redirects > 0);
    }
    await call.drain(first);
    if (request.redirect === "error") throw refusal('it was redirected, which `redirect: "error"` forbids');
    if (redirects === MAX_REDIRECTS) throw refusal(`it was redirected more than ${MAX_REDIRECTS} times`);
    target = redirected(target, first.head.status, location);
  }
}

function wireForm({ method, url, headers, body }: Target): {
  method: string;
  url: string;
  headers: [string, string][];
} {
  // Of a body that is at hand, or of none, the caller's own content-length says nothing; a wrong one would be refused.
  const streamed = body !== undefined && body.length === undefined;
  const sent = [...headers].filter(([name]) => streamed || name !== "content-length");
  if (body?.length !== undefined) sent.push(["content-length", String(body.length)]);
  return { method, url: url.href, headers: sent };
}

/** As every `fetch` sends them, without credentials. */
function withDefaults(given: Headers): Headers {
  const headers = new Headers(given);
  for (const name of CREDENTIAL_HEADERS) headers.delete(name);
  if (!headers.has("accept")) headers.set("accept", "*/*");
  if (!headers.has("user-agent")) headers.set("user-agent", "node");
  return headers;
}

/** Where the redirect leads, by the rules of `fetch`. Whether the key may be sent there is the vault's to say. */
function redirected(target: Target, status: number, location: string): Target {
  if (!URL.canParse(location, target.url.href)) throw refusal("it was redirected to what is no URL");
  const url = withoutFragment(new URL(location, target.url));
  if (url.protocol !== "https:" && url.protocol !== "http:") throw refusal("it was redirected to what is not HTTP");
  const { method } = target;
  const toGet = status === 303 ? method !== "GET" && method !== "HEAD" : status < 303 && method === "POST";
  if (!toGet) {
    if (target.body !== undefined && !target.body.repeatable)
      throw refusal(`it was redirected with ${status}, and its body is a stream, which cannot be sent again`);
    return { ...target, url };
  }
  const headers = new Headers(target.headers);
  for (const name of BODY_HEADERS) headers.delete(name);
  return { method: "GET", url, headers, body: undefined };
}

/** What a Response made by hand does not know of itself. */
function present(response: Response, url: string, wasRedirected: boolean): Response {
  return Object.defineProperties(response, {
    url: { value: url },
    redirected: { value: wasRedirected },
    type: { value: "basic" },
    clone: { value: () => present(Response.prototype.clone.call(response), url, wasRedirected) },
  });
}

function withoutFragment(url: URL): URL {
  url.hash = "";
  return url;
}

function refusal(why: string): TypeError {
  return new TypeError(`fetch failed: ${why}`);
}
