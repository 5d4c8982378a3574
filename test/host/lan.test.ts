import { unlink } from "node:fs/promises";
import { expect, test } from "vitest";
import type { NatsServer } from "../../src/bus/nats-server/server.ts";
import { Lan } from "../../src/host/lan.ts";
import type { HttpServer } from "../../src/http/server.ts";
import { silentLogger } from "../../src/protocols/logger.ts";
import { temporaryHome } from "../support/home.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { eventually } from "../support/wait.ts";

test("a certificate that is gone is made anew while the node runs, and a server that could not take it gets it at the next look", async () => {
  const home = await temporaryHome();
  const clock = new ManualClock();
  clock.wallOffset = Date.now();
  const lan = await Lan.open({ home, clock, logger: silentLogger });
  const shown: string[] = [];
  let failures = 1;
  const useCertificate = ({ certificatePem }: { certificatePem: string }): void => void shown.push(certificatePem);
  const server = {
    port: 4222,
    useCertificate: async (certificate: { certificatePem: string }) => {
      if (failures-- > 0) throw new Error("no space is left");
      useCertificate(certificate);
    },
  } as unknown as NatsServer;
  const stop = lan.serve(server, { useCertificate } as unknown as HttpServer);
  const first = lan.certificate.certificatePem;
  await unlink(home.layout.authority.serverCertificate);
  await eventually(async () => {
    await clock.advance(10_000);
    return shown.length === 2 || undefined;
  }, "both servers to show the new certificate");
  expect(failures).toBeLessThan(0);
  expect(new Set(shown)).toEqual(new Set([lan.certificate.certificatePem]));
  expect(lan.certificate.certificatePem).not.toBe(first);
  await stop();
});
