/** One HTTP request to a provider and its answer, over node:http: to addresses that were checked, and to no others. */
import * as http from "node:http";
import * as https from "node:https";
import { pipeline, type Readable } from "node:stream";
import { createSecureContext, rootCertificates } from "node:tls";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { VgasError } from "../../../protocols/errors.ts";
import { type Address, codeOf, hostOf, pinned } from "./guard.ts";
import { codings, type OutgoingHeaders } from "./headers.ts";

/** Statuses whose answers have no body. */
const NO_BODY = new Set([204, 205, 304]);
const MAX_CODINGS = 2;

/**
 * Connections that are kept for the next call. Those of keys that may reach private addresses are apart from the others: a name
 * can have been a private address for the one key, and must not be that for the other because a connection is still there.
 */
export class Connections {
  readonly #plain: http.Agent;
  readonly #public: https.Agent;
  readonly #private: https.Agent;

  /** `ca`: certificates of authorities in PEM, trusted besides those that Node brings. */
  constructor(ca?: string) {
    const kept = { keepAlive: true, maxFreeSockets: 16, timeout: 15_000 };
    const minVersion = "TLSv1.2";
    // rejectUnauthorized is said because NODE_TLS_REJECT_UNAUTHORIZED would turn it off for the whole process.
    const secure = {
      ...kept,
      minVersion,
      rejectUnauthorized: true,
      ...(ca !== undefined && { secureContext: createSecureContext({ ca: [...rootCertificates, ca], minVersion }) }),
    } as const;
    this.#plain = new http.Agent(kept);
    this.#public = new https.Agent(secure);
    this.#private = new https.Agent(secure);
  }

  agentFor(url: URL, allowPrivate: boolean): http.Agent {
    if (url.protocol === "http:") return this.#plain;
    return allowPrivate ? this.#private : this.#public;
  }

  destroy(): void {
    for (const agent of [this.#plain, this.#public, this.#private]) agent.destroy();
  }
}

export interface ExchangeOptions {
  readonly url: URL;
  readonly method: string;
  readonly headers: OutgoingHeaders;
  readonly addresses: readonly Address[];
  readonly agent: http.Agent;
  onConnected(): void;
  /** `decoded`: the body comes in another form than the headers say. */
  onHead(response: http.IncomingMessage, decoded: boolean): void;
  /** The piece is the taker's. */
  onData(piece: Buffer): void;
  onEnd(): void;
  /** UPSTREAM_FAILED; the last thing that is heard. */
  onError(error: VgasError): void;
}

export class Exchange {
  readonly #options: ExchangeOptions;
  readonly #request: http.ClientRequest;
  #body: Readable | undefined;
  #over = false;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    const { url, method, headers, agent, addresses } = options;
    const secure = url.protocol === "https:";
    this.#request = (secure ? https : http).request({
      protocol: url.protocol,
      hostname: hostOf(url),
      ...(url.port !== "" && { port: url.port }),
      path: url.pathname + url.search,
      method,
      agent,
      lookup: pinned(addresses),
    });
    // Not by the options: a kept connection holds those of its first request, and with them the key.
    for (const [name, value] of Object.entries(headers)) this.#request.setHeader(name, value);
    this.#request.on("socket", (socket) => {
      if (this.#request.reusedSocket) options.onConnected();
      else socket.once(secure ? "secureConnect" : "connect", () => options.onConnected());
    });
    this.#request.on("response", (response) => this.#answer(response));
    // Once there is an answer, only its own end counts: a server may refuse a body that is still being sent.
    this.#request.on("error", (error) => this.#body === undefined && this.#fail(error));
    // Also after what is no error to node:http: an upgrade that nobody asked for.
    this.#request.on("close", () => this.#body === undefined && this.#fail(undefined));
  }

  /** Sends a piece of the body; resolves when the connection took it, or takes nothing more. */
  async write(piece: Uint8Array): Promise<void> {
    const request = this.#request;
    if (piece.length === 0 || request.destroyed || request.write(piece)) return;
    await new Promise<void>((resolve) => {
      const settle = () => {
        request.off("drain", settle).off("close", settle);
        resolve();
      };
      request.on("drain", settle).on("close", settle);
    });
  }

  /** The body is complete. */
  end(): void {
    this.#request.end();
  }

  pause(): void {
    this.#body?.pause();
  }

  resume(): void {
    this.#body?.resume();
  }

  /** Breaks it off; nothing more is heard of it. */
  destroy(): void {
    this.#over = true;
    this.#request.destroy();
  }

  #answer(response: http.IncomingMessage): void {
    if (this.#over) return;
    const status = response.statusCode ?? 0;
    const encodings = codings(response.headers["content-encoding"]);
    const bodiless = this.#options.method === "HEAD" || NO_BODY.has(status);
    const decoders = bodiless ? [] : encodings.reverse().map(decoderFor);
    const unknown = decoders.includes(undefined) || decoders.length > MAX_CODINGS;
    if (status < 200 || status > 599 || unknown) {
      const what = unknown ? "in a content-encoding that is not read here" : "with a status outside 200 to 599";
      this.#report(new VgasError("UPSTREAM_FAILED", `${this.#options.url.origin} answered ${what}`));
      this.#request.destroy();
      return;
    }
    const chain = decoders.filter((decoder) => decoder !== undefined);
    this.#body = chain.at(-1) ?? response;
    if (chain.length > 0) pipeline([response, ...chain], (error) => error && this.#fail(error));
    // Each has a listener of its own: pipeline takes its listeners off when the data is through, and a decoder may fail after that.
    for (const stage of [response, ...chain]) stage.on("error", (error) => this.#fail(error));
    this.#options.onHead(response, chain.length > 0);
    this.#body.on("data", (piece: Buffer) => {
      if (!this.#over) this.#options.onData(piece);
    });
    this.#body.on("end", () => {
      if (this.#over) return;
      this.#over = true;
      if (!this.#request.writableFinished) this.#request.destroy();
      this.#options.onEnd();
    });
  }

  #fail(error: unknown): void {
    const { origin } = this.#options.url;
    const what = this.#body === undefined ? "could not be reached, or gave no answer" : "broke off its answer";
    this.#report(new VgasError("UPSTREAM_FAILED", `${origin} ${what}${codeOf(error)}`));
    this.#request.destroy();
  }

  #report(error: VgasError): void {
    if (this.#over) return;
    this.#over = true;
    this.#options.onError(error);
  }
}

function decoderFor(coding: string) {
  if (coding === "gzip" || coding === "x-gzip") return createGunzip();
  if (coding === "deflate") return createInflate();
  return coding === "br" ? createBrotliDecompress() : undefined;
}
