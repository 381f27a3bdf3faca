/** A certificate authority of a test's own, and a server certificate for loopback. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../bin/setup/exec.ts';
import { testPart } from './tools.ts';

export interface TestCertificates {
  /** Files, PEM. */
  ca: string;
  certificate: string;
  key: string;
}

const config = `[req]
distinguished_name = name
prompt = no
[name]
CN = Boardwalk test
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[server]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
`;

/** Valid for a day, for `localhost`, `127.0.0.1` and `::1`. */
export async function createCertificates(dir: string): Promise<TestCertificates> {
  const { openssl, env } = await testPart('openssl');
  await mkdir(dir, { recursive: true });
  const file = (name: string) => join(dir, name);
  await writeFile(file('openssl.cnf'), config);
  const request = (args: string[]) =>
    run(
      openssl,
      ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', ...args],
      { env: { ...process.env, ...env, OPENSSL_CONF: file('openssl.cnf') } },
    );
  await request(['-keyout', file('ca.key'), '-out', file('ca.pem'), '-days', '1', '-extensions', 'ca']);
  await request([
    ...['-keyout', file('server.key'), '-out', file('server.pem'), '-days', '1', '-extensions', 'server'],
    ...['-subj', '/CN=localhost', '-CA', file('ca.pem'), '-CAkey', file('ca.key')],
  ]);
  return { ca: file('ca.pem'), certificate: file('server.pem'), key: file('server.key') };
}
