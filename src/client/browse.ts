/** Looks for what the network announces by mDNS, for who announces nothing itself. */
import type { Discovery } from "../actors/discovery/discovery.ts";
import type { Config } from "../config.ts";
import { systemClock } from "../protocols/clock.ts";
import type { Logger } from "../protocols/logger.ts";

/** Never rejects; who gets it stops it. `hostId` is the id that is not looked for. */
export async function browse(
  { httpPort, interfaces }: Pick<Config, "httpPort" | "interfaces">,
  { hostId }: { readonly hostId: string },
  logger: Logger,
): Promise<Discovery> {
  // Only here: who does not look need not wait until it is loaded.
  const { Discovery } = await import("../actors/discovery/discovery.ts");
  const browser = new Discovery({
    self: { hostId, mode: "slave", httpPort },
    advertise: false,
    interfaces,
    clock: systemClock,
    random: Math.random,
    logger,
  });
  await browser.start();
  return browser;
}
