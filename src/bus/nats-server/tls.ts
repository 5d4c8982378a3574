/** The broker's TLS: the block that nats-server.conf includes, and the file with certificate and key that it names. */
import { unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Authority } from "../certificates/authority.ts";
import type { ServerCertificate } from "../certificates/server-certificate.ts";
import { diskError, errnoOf, readIfPresent, writeWhole } from "../home/files.ts";
import type { HomeLayout } from "../home/layout.ts";
import type { BrokerAddress } from "./broker-record.ts";

/** What a broker needs to be known from other machines. */
export interface BrokerTls {
  readonly certificate: ServerCertificate;
  readonly authority: Authority;
}

const HEADER = "# Written by vgas; changes made here are lost.\n";
/** Seconds for the handshake: on a machine whose cores are all busy it can take longer than the usual 2. */
const HANDSHAKE_TIMEOUT_S = 5;
const PLAIN_CLIENT_AFTER = "1s";

/** Writes the block and the certificate, or an empty block without `tls`. */
export async function installTls(layout: HomeLayout, tls: BrokerTls | undefined): Promise<void> {
  if (tls !== undefined) await installCertificate(layout, tls.certificate);
  const text = `${HEADER}${tls === undefined ? "# This broker listens on loopback only.\n" : block(layout)}`;
  if ((await readIfPresent(layout.nats.tls)) !== text) await writeWhole(layout.nats.tls, text);
  if (tls === undefined) await removeCertificate(layout);
}

/** One file for both: a broker that starts or reloads at this moment reads the old pair or the new, never half of each. */
export async function installCertificate(layout: HomeLayout, certificate: ServerCertificate): Promise<void> {
  const text = certificate.certificatePem + certificate.keyPem;
  if ((await readIfPresent(pairOf(layout))) !== text) await writeWhole(pairOf(layout), text);
}

/** What tells processes of this machine how the broker proves itself. */
export function identityOf(layout: HomeLayout, tls: BrokerTls | undefined): Omit<BrokerAddress, "url"> {
  return tls === undefined ? {} : { caFile: layout.authority.caCertificate, serverName: tls.authority.serverName };
}

async function removeCertificate(layout: HomeLayout): Promise<void> {
  await unlink(pairOf(layout)).catch((error: unknown) => {
    if (errnoOf(error) !== "ENOENT") throw diskError(error, `remove ${pairOf(layout)}`);
  });
}

function pairOf(layout: HomeLayout): string {
  return join(layout.nats.dir, "server.pem");
}

function block(layout: HomeLayout): string {
  const pair = JSON.stringify(pairOf(layout));
  return `tls {
  # Certificate, its authority and key.
  cert_file: ${pair}
  key_file: ${pair}
  min_version: "1.2"
  timeout: ${HANDSHAKE_TIMEOUT_S}
  # Nodes of vgas begin with the handshake, so that nobody on the way can alter the challenge that their credential signs and
  # make them look revoked. Who has said nothing for this long is another client, and gets the server's INFO in plain text first.
  handshake_first: ${JSON.stringify(PLAIN_CLIENT_AFTER)}
}
`;
}
