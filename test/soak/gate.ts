/** Some may pass together, and others only alone. Whoever comes waits for those that are in; the one that is alone waits for all. */
export class Gate {
  readonly #passing = new Set<Promise<unknown>>();
  #alone: Promise<unknown> | undefined;

  async together<T>(work: () => Promise<T>): Promise<T> {
    while (this.#alone !== undefined) await this.#alone;
    const passing = work();
    const settled = passing.then(nothing, nothing).finally(() => this.#passing.delete(settled));
    this.#passing.add(settled);
    return await passing;
  }

  async alone<T>(work: () => Promise<T>): Promise<T> {
    while (this.#alone !== undefined) await this.#alone;
    const passing = Promise.all(this.#passing).then(work);
    const settled = passing.then(nothing, nothing).finally(() => {
      this.#alone = undefined;
    });
    this.#alone = settled;
    return await passing;
  }
}

const nothing = (): void => undefined;
