/** libcoap's server as a DTLS terminator in front of the source: a PSK client reaches it, nothing else is forwarded. */
import { spawn } from 'node:child_process';
import { afterEach, expect, it } from 'vitest';
import { runCoapClient } from '../../harness/coap-client.ts';
import { testPart } from '../../harness/tools.ts';
import { findFreeUdpPort } from '../../harness/udp-coap.ts';
import { until } from '../../harness/until.ts';
import { type CleanUp, openCoapSource } from './coap-support.ts';

const cleanUp: CleanUp = [];
afterEach(async () => {
  for (const each of cleanUp.splice(0).reverse()) await each();
});

/** DTLS is on the port after the one that is named. */
async function startTerminator(key: string, agentPort: number): Promise<number> {
  const { secureServer, env } = await testPart('coap');
  const plain = await findFreeUdpPort();
  const upstream = `coap://127.0.0.1:${agentPort},terminator`;
  const child = spawn(secureServer, ['-A', '127.0.0.1', '-p', `${plain}`, '-k', key, '-P', upstream], {
    env: { ...process.env, ...env },
    stdio: 'ignore',
  });
  const ended = new Promise<void>((resolve) => void child.once('exit', () => resolve()));
  cleanUp.push(() => {
    child.kill('SIGKILL');
    return ended;
  });
  return plain + 1;
}

it('takes posts by DTLS with a pre-shared key, of the names that it is told', async () => {
  const { port, heard } = await openCoapSource(cleanUp, { proxyNames: ['gateway'] });
  const secure = await startTerminator('a-secret-key', port);
  const post = (name: string, key = 'a-secret-key') =>
    runCoapClient(
      [
        '-k',
        key,
        '-u',
        'n1',
        '-m',
        'post',
        '-t',
        'json',
        '-P',
        `coaps://127.0.0.1:${secure}`,
        `coap://${name}/r?seq=5`,
      ],
      { secure: true, payload: '{"data":{}}', waitSeconds: 2 },
    );
  const answer = await until('the terminator takes it', async () => {
    const tried = await post('gateway');
    return tried.code === '2.04' && tried;
  });
  expect(answer.payload).toBe('{"status":"ok"}');
  expect(heard.at(-1)).toMatchObject({ path: 'r', fields: { seq: '5' }, contentType: 'application/json' });
  const before = heard.length;
  expect((await post('elsewhere')).code).toBe('5.05');
  expect((await post('gateway', 'another-key')).code).toBeUndefined();
  expect(heard).toHaveLength(before);
}, 30_000);
