/** A broker with TLS, for tests. */
import type { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect as connectTls } from "node:tls";
import { ensureAuthority } from "../../src/bus/certificates/authority.ts";
import { ensureServerCertificate, type WantedNames } from "../../src/bus/certificates/server-certificate.ts";
import type { HomeLayout } from "../../src/bus/home/layout.ts";
import type { BrokerTls } from "../../src/bus/nats-server/tls.ts";

/** What the broker of that home proves itself by. */
export async function brokerTls(
  layout: HomeLayout,
  wanted: WantedNames = { names: [], addresses: [] },
): Promise<BrokerTls> {
  return { authority: await ensureAuthority(layout), certificate: await ensureServerCertificate(layout, wanted) };
}

/** The certificate that a NATS server shows to who connects now. */
export async function shownCertificate(port: number): Promise<X509Certificate> {
  const secure = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false });
  await once(secure, "secureConnect");
  const shown = secure.getPeerX509Certificate();
  secure.destroy();
  if (shown === undefined) throw new Error("the server showed no certificate");
  return shown;
}
