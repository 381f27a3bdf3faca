/** The commands of docs/gateway.md that devices and scripts type; only the ports are others. */
import { readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { startMosquitto } from '../../harness/mosquitto.ts';
import { runProgram } from '../../harness/run-program.ts';
import { repositoryRoot, testPart } from '../../harness/tools.ts';
import { findFreeUdpPort } from '../../harness/udp-coap.ts';
import { until } from '../../harness/until.ts';
import { openSource } from './source-support.ts';

const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of cleanUp.splice(0).reverse()) await each();
});

const page = readFileSync(join(repositoryRoot, 'docs/gateway.md'), 'utf8');

/** The first block of shell commands below a heading. */
function commandsOf(heading: string): string {
  const section = page.split(`### ${heading}\n`)[1]?.split('\n### ')[0] ?? '';
  const block = /^```sh\n(.*?)^```/ms.exec(section)?.[1];
  if (block === undefined) throw new Error(`there are no commands below ${heading}`);
  return block;
}

async function type(script: string, env: Record<string, string>): Promise<string> {
  const ran = await runProgram('bash', ['-euc', script], { env, timeoutMs: 30_000 });
  expect(ran).toMatchObject({ code: 0 });
  return ran.stdout;
}

it('posts over HTTP', async () => {
  const source = await openSource({ kind: 'http', rules: [{ match: 'r', decoder: 'json' }] });
  cleanUp.push(source.close);
  const output = await type(commandsOf('HTTP'), { STATE: source.dir });
  expect(output.match(/"status":"ok"/g)).toHaveLength(3);
  expect(source.heard).toMatchObject([
    { path: 'r' },
    { fields: { device: 'n1', seq: '2' } },
    { transmission: '7f3a' },
  ]);
});

it('publishes over MQTT', async () => {
  const [broker, tools] = await Promise.all([startMosquitto(), testPart('mosquitto')]);
  cleanUp.push(broker.stop);
  const rules = [{ match: '/{module}/status', decoder: 'status-list' }];
  const source = await openSource({ kind: 'mqtt', urls: [broker.url], rules });
  cleanUp.push(source.close);
  await until('it hears', () => source.faults.length > 0 && source.fault() === undefined);
  const path = `${dirname(tools.publish)}${delimiter}${process.env.PATH}`;
  const script = commandsOf('MQTT').replaceAll('mosquitto_pub', `mosquitto_pub -p ${broker.port}`);
  await type(script, { ...tools.env, PATH: path });
  await until('it is heard', () => source.heard.length === 1);
  expect(source.heard[0]?.path).toBe('/hv/status');
});

it('posts over CoAP', async () => {
  const [port, tools] = [await findFreeUdpPort(), await testPart('coap')];
  const source = await openSource({ kind: 'coap', port, rules: [{ match: 'r', decoder: 'json' }] });
  cleanUp.push(source.close);
  const script = commandsOf('CoAP')
    .replaceAll(/coap:\/\/(\[::1\]|127\.0\.0\.1)\//g, `coap://$1:${port}/`)
    .replace('-s 10', '-s 1');
  const path = `${dirname(tools.client)}${delimiter}${process.env.PATH}`;
  const output = await type(script, { ...tools.env, PATH: path });
  expect(output.match(/"status":"ok"/g)).toHaveLength(2);
  expect(output).toContain('rt="boardwalk.readings');
  expect(source.heard).toMatchObject([{ path: 'r' }, { fields: { device: 'n1', seq: '6' } }]);
});
