/** How far a dispatcher's idea of the broker's time may be from the truth (src/actors/gatling/broker-clock.ts). */
import { onTestFinished, vi } from "vitest";
import { BrokerClock } from "../../src/actors/gatling/broker-clock.ts";

/** Watches all dispatchers until the end of the test. What it returns tells the most that one can have been wrong by so far, ms. */
export function watchBrokerClocks(): () => number {
  // Both clocks tell whole milliseconds.
  let most = 1;
  const { learn } = BrokerClock.prototype;
  const spy = vi.spyOn(BrokerClock.prototype, "learn").mockImplementation(function (
    this: BrokerClock,
    broker,
    askedAt,
  ) {
    // The broker looked at its clock somewhere between the question and the answer, and the middle is what is believed.
    most = Math.max(most, 1 + (this.monotonic() - askedAt) / 2);
    learn.call(this, broker, askedAt);
  });
  onTestFinished(() => spy.mockRestore());
  return () => most;
}
