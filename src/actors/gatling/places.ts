/**
 * Which places of a roster have a free slot: a bit for each place, and above it a bit for each non-empty word, level by
 * level, so that the next free place is found in a few steps however many full ones lie between (32^3 = 32 768 places
 * take three levels).
 */
export class FreePlaces {
  readonly size: number;
  /** `#levels[0]` has a bit per place; a bit of `#levels[k]` tells whether that word of `#levels[k - 1]` is non-zero. */
  readonly #levels: Int32Array[] = [];

  constructor(size: number) {
    this.size = size;
    let words = Math.max(1, Math.ceil(size / 32));
    this.#levels.push(new Int32Array(words));
    while (words > 1) {
      words = Math.ceil(words / 32);
      this.#levels.push(new Int32Array(words));
    }
  }

  /** Marks `place` as having a free slot. */
  add(place: number): void {
    let bit = place;
    for (const level of this.#levels) {
      const word = bit >>> 5;
      const before = level[word] as number;
      level[word] = before | (1 << (bit & 31));
      if (before !== 0) return;
      bit = word;
    }
  }

  /** Marks `place` as full. */
  remove(place: number): void {
    let bit = place;
    for (const level of this.#levels) {
      const word = bit >>> 5;
      const after = (level[word] as number) & ~(1 << (bit & 31));
      level[word] = after;
      if (after !== 0) return;
      bit = word;
    }
  }

  /** The first free place at or after `from`, going round; -1 if every place is full. */
  next(from: number): number {
    const found = this.#atOrAfter(from);
    return found >= 0 || from === 0 ? found : this.#atOrAfter(0);
  }

  #atOrAfter(from: number): number {
    let bit = from;
    for (let depth = 0; depth < this.#levels.length; depth++) {
      const level = this.#levels[depth] as Int32Array;
      const word = bit >>> 5;
      if (word >= level.length) return -1;
      const rest = (level[word] as number) & (-1 << (bit & 31));
      if (rest !== 0) return this.#descend(depth, word, rest);
      bit = word + 1;
    }
    return -1;
  }

  #descend(depth: number, word: number, bits: number): number {
    let position = (word << 5) + lowestBit(bits);
    for (let below = depth - 1; below >= 0; below--) {
      position = (position << 5) + lowestBit((this.#levels[below] as Int32Array)[position] as number);
    }
    return position;
  }
}

function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}
