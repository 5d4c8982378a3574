/**
 * Reads from an answer that goes by what it used: JSON, or a stream of events (SSE), of OpenAI, Anthropic or whoever speaks like them.
 *
 * Memory does not grow with the answer, however long it or one of its lines is, and chunks may end anywhere. An answer that tells
 * nothing, or is something else, has no tokens: a stream of chat completions tells them only if it was asked with
 * `stream_options: {include_usage: true}`.
 *
 * For answers to POST only: a stored answer that is fetched again tells the same usage again.
 */
import { JsonFields } from "./json-fields.ts";
import { type Tokens, TokenTally } from "./token-tally.ts";

export interface Meter {
  /** Decoded bytes of the answer, in order. They are not kept. */
  push(chunk: Uint8Array): void;
  /** What has been told so far; undefined if nothing. */
  end(): Tokens | undefined;
}

/** `message` is what Anthropic's stream begins with, `response` the answer in events of OpenAI's responses. */
const WANTED = { fields: ["usage", "model"], objects: ["response", "message"] } as const;

const LINE_FEED = 0x0a;
const RETURN = 0x0d;
const COLON = 0x3a;
const SPACE = 0x20;
const DATA = "data";
const NEWLINE = Uint8Array.of(LINE_FEED);

/** `contentType` as the header has it. */
export function createMeter(contentType: string): Meter {
  const type = contentType.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  if (type === "text/event-stream") return new EventMeter();
  if (/^application\/(?:[a-z0-9.-]+\+)?(?:json|x-ndjson|jsonl)$/.test(type)) return new JsonMeter();
  return { push: () => undefined, end: () => undefined };
}

class JsonMeter implements Meter {
  readonly #tally = new TokenTally();
  readonly #fields = fieldsFor(this.#tally);

  push(chunk: Uint8Array): void {
    this.#fields.push(chunk);
  }

  end(): Tokens | undefined {
    return this.#tally.result();
  }
}

class EventMeter implements Meter {
  readonly #tally = new TokenTally();
  readonly #fields = fieldsFor(this.#tally);
  #place: "name" | "data" | "skip" = "name";
  /** Name of the line's field, as far as it has come. */
  #name = "";
  /** The field's value has not begun: one space before it is not part of it. */
  #valueNext = false;
  /** The event has had a line of data, so that another one follows behind a line feed. */
  #hasData = false;
  #afterReturn = false;

  push(chunk: Uint8Array): void {
    let i = 0;
    let nextReturn = chunk.indexOf(RETURN);
    while (i < chunk.length) {
      if (this.#afterReturn && chunk[i] === LINE_FEED) {
        this.#afterReturn = false;
        i++;
        continue;
      }
      this.#afterReturn = false;
      if (this.#place === "name") {
        i = this.#readName(chunk, i);
        continue;
      }
      if (nextReturn !== -1 && nextReturn < i) nextReturn = chunk.indexOf(RETURN, i);
      const nextFeed = chunk.indexOf(LINE_FEED, i);
      const end = Math.min(...[nextReturn, nextFeed, chunk.length].filter((index) => index !== -1));
      if (this.#place === "data" && end > i) this.#data(chunk.subarray(i, end));
      if (end === chunk.length) return;
      this.#lineEnds(chunk[end]);
      i = end + 1;
    }
  }

  end(): Tokens | undefined {
    return this.#tally.result();
  }

  #readName(chunk: Uint8Array, start: number): number {
    for (let i = start; i < chunk.length; i++) {
      const byte = chunk[i] as number;
      if (byte === LINE_FEED || byte === RETURN) {
        if (this.#name === "") this.#eventEnds();
        this.#lineEnds(byte);
        return i + 1;
      }
      if (byte === COLON) {
        this.#place = this.#name === DATA ? "data" : "skip";
        this.#valueNext = true;
        return i + 1;
      }
      // A byte order mark, whose bytes are in no field's name, may stand before the first line.
      if (byte < 0x80 && this.#name.length <= DATA.length) this.#name += String.fromCharCode(byte);
    }
    return chunk.length;
  }

  #data(piece: Uint8Array): void {
    const value = this.#valueNext && piece[0] === SPACE ? piece.subarray(1) : piece;
    if (this.#valueNext && this.#hasData) this.#fields.push(NEWLINE);
    this.#valueNext = false;
    this.#hasData = true;
    this.#fields.push(value);
  }

  #lineEnds(byte: number | undefined): void {
    this.#afterReturn = byte === RETURN;
    this.#place = "name";
    this.#name = "";
  }

  #eventEnds(): void {
    this.#fields.reset();
    this.#hasData = false;
  }
}

function fieldsFor(tally: TokenTally): JsonFields {
  return new JsonFields(WANTED, (path, value) => {
    // Anthropic's message_start tells the input, and an output that has hardly begun.
    if (path.endsWith("usage")) tally.usage(value, path !== "message.usage");
    else tally.model(value);
  });
}
