import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface Certificates {
  /** PEM of the authority. */
  readonly ca: string;
  /** PEM of the server's key and of its certificate, which the authority signed. */
  readonly key: string;
  readonly cert: string;
}

/** An authority of its own, made by the machine's openssl, and a certificate of it for these names (`DNS:a.test`, `IP:127.0.0.1`). */
export async function makeCertificates(names: readonly string[]): Promise<Certificates> {
  const dir = await mkdtemp(join(tmpdir(), "vgas-ca-"));
  const openssl = (...args: string[]) => run("openssl", args, { cwd: dir });
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  try {
    await openssl("req", "-x509", ...newKey, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test");
    await openssl("req", ...newKey, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server");
    await writeFile(join(dir, "names"), `subjectAltName=${names.join(",")}\n`);
    const signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"];
    await openssl("x509", "-req", "-in", "server.csr", "-out", "server.pem", ...signed);
    const [ca, key, cert] = await Promise.all(
      ["ca.pem", "server.key", "server.pem"].map((name) => readFile(join(dir, name), "utf8")),
    );
    return { ca: ca ?? "", key: key ?? "", cert: cert ?? "" };
  } finally {
    await rm(dir, { recursive: true });
  }
}
