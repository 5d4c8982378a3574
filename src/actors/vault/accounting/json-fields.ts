/**
 * Picks a few fields out of JSON that goes by, of any size, without keeping it.
 *
 * 1. Memory is bounded by MAX_VALUE_BYTES, whatever comes: a longer value is left out, all else is only looked at.
 * 2. Only fields of the outermost object, and of the objects in it that were asked for, are picked: what a model wrote, or a user,
 *    is in strings or deeper.
 * 3. It does not check JSON. Garbage gives nothing, or values that are JSON by themselves.
 *
 * Bytes of UTF-8 above 127 are never a quote or a bracket, so chunks may end anywhere. Several documents may follow each other.
 */

/** Longest value that is picked; a usage object takes some hundred bytes. */
const MAX_VALUE_BYTES = 65_536;
/** Longest name that can be one of those asked for, with each of its characters escaped. */
const MAX_NAME_CHARS = 256;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

export interface WantedFields {
  /** Of the outermost object. */
  readonly fields: readonly string[];
  /** Names of objects in it of which `fields` are picked too, as `<object>.<field>`. */
  readonly objects: readonly string[];
}

export class JsonFields {
  readonly #wanted: WantedFields;
  readonly #found: (path: string, value: unknown) => void;
  #depth = 0;
  /** Whether the containers at depth 1 and 2 are objects whose names matter. */
  #outer = false;
  #inner = false;
  /** Name of the outer object's present field. */
  #outerName = "";
  /** A string that begins now is a name. */
  #nameNext = false;
  /** Name read last, until its value begins; undefined while there is none. */
  #name: string | undefined;
  #inString = false;
  #inName = false;
  /** The bytes before are an odd number of backslashes. */
  #escaped = false;
  /** Path and depth of the value that is being picked. */
  #path: string | undefined;
  #pathDepth = 0;
  #pieces: Uint8Array[] = [];
  #pickedBytes = 0;

  constructor(wanted: WantedFields, found: (path: string, value: unknown) => void) {
    this.#wanted = wanted;
    this.#found = found;
  }

  /** Begins anew, as if nothing had come. */
  reset(): void {
    this.#depth = 0;
    this.#nameNext = this.#inString = this.#inName = this.#escaped = this.#outer = this.#inner = false;
    this.#name = undefined;
    this.#drop();
  }

  push(chunk: Uint8Array): void {
    // Where the value that is being picked begins in this chunk.
    let from = 0;
    for (let i = 0; i < chunk.length; ) {
      if (this.#inString) {
        i = this.#string(chunk, i);
        continue;
      }
      switch (chunk[i]) {
        case QUOTE:
          this.#inString = true;
          this.#escaped = false;
          this.#inName = this.#nameNext;
          this.#nameNext = false;
          if (this.#inName) this.#name = "";
          break;
        case 0x7b: // {
        case 0x5b: // [
          this.#enter(chunk[i] === 0x7b);
          break;
        case 0x7d: // }
        case 0x5d: // ]
          if (this.#path !== undefined && this.#depth === this.#pathDepth) this.#pick(chunk.subarray(from, i));
          this.#depth = Math.max(0, this.#depth - 1);
          this.#nameNext = false;
          break;
        case 0x2c: // ,
          if (this.#path !== undefined && this.#depth === this.#pathDepth) this.#pick(chunk.subarray(from, i));
          this.#nameNext = this.#named();
          break;
        case 0x3a: // :
          if (this.#name !== undefined && this.#named()) {
            this.#begin(this.#name);
            from = i + 1;
          }
          this.#name = undefined;
          break;
      }
      i++;
    }
    if (this.#path !== undefined) this.#keep(chunk.subarray(from));
  }

  /** Whether a name may stand at this depth. */
  #named(): boolean {
    return (this.#depth === 1 && this.#outer) || (this.#depth === 2 && this.#inner);
  }

  #enter(isObject: boolean): void {
    this.#depth++;
    if (this.#depth === 1) {
      this.#outer = isObject;
      this.#outerName = "";
    } else if (this.#depth === 2) {
      this.#inner = isObject && this.#outer && this.#wanted.objects.includes(this.#outerName);
    }
    this.#nameNext = this.#named();
  }

  #begin(rawName: string): void {
    const name = rawName.includes("\\") ? unescaped(rawName) : rawName;
    if (this.#depth === 1) this.#outerName = name;
    if (!this.#wanted.fields.includes(name)) return;
    this.#path = this.#depth === 1 ? name : `${this.#outerName}.${name}`;
    this.#pathDepth = this.#depth;
  }

  /** Goes on in a string; gives where to go on after it, or the chunk's end. */
  #string(chunk: Uint8Array, start: number): number {
    const quote = chunk.indexOf(QUOTE, start);
    const end = quote === -1 ? chunk.length : quote;
    if (this.#inName && this.#name !== undefined && this.#name.length <= MAX_NAME_CHARS)
      this.#name += String.fromCharCode(...chunk.subarray(start, Math.min(end, start + MAX_NAME_CHARS + 1)));
    let backslashes = 0;
    while (end - backslashes > start && chunk[end - backslashes - 1] === BACKSLASH) backslashes++;
    const allOfIt = backslashes === end - start;
    const escaped = (backslashes % 2 === 1) !== (allOfIt && this.#escaped);
    if (quote === -1) {
      this.#escaped = escaped;
      return end;
    }
    this.#escaped = false;
    if (escaped) {
      if (this.#inName) this.#name += '"';
    } else this.#inString = this.#inName = false;
    return quote + 1;
  }

  #keep(piece: Uint8Array): void {
    this.#pickedBytes += piece.length;
    // Copied: the chunk belongs to who pushed it. What is too long is only counted.
    if (this.#pickedBytes <= MAX_VALUE_BYTES) this.#pieces.push(Uint8Array.from(piece));
    else this.#pieces = [];
  }

  #pick(last: Uint8Array): void {
    this.#keep(last);
    const path = this.#path;
    const whole = this.#pickedBytes <= MAX_VALUE_BYTES ? Buffer.concat(this.#pieces).toString("utf8") : "";
    this.#drop();
    if (path === undefined || whole === "") return;
    let value: unknown;
    try {
      value = JSON.parse(whole);
    } catch {
      return;
    }
    this.#found(path, value);
  }

  #drop(): void {
    this.#path = undefined;
    this.#pieces = [];
    this.#pickedBytes = 0;
  }
}

function unescaped(raw: string): string {
  try {
    return JSON.parse(`"${raw}"`) as string;
  } catch {
    return raw;
  }
}
