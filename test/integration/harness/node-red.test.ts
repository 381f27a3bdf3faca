import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startNodeRed, type TestNodeRed } from '../../harness/node-red.ts';
import { until } from '../../harness/until.ts';

describe("the tests' Node-RED", () => {
  let nodeRed: TestNodeRed;

  beforeAll(async () => {
    nodeRed = await startNodeRed();
  });
  afterAll(() => nodeRed?.stop());

  it('runs a flow that its admin API brought, and keeps it over a restart', async () => {
    await nodeRed.deploy([
      { id: 'tab', type: 'tab', label: 'test' },
      {
        id: 'button',
        type: 'inject',
        z: 'tab',
        props: [{ p: 'payload' }],
        payload: 'pressed',
        wires: [['keep']],
      },
      {
        id: 'keep',
        type: 'change',
        z: 'tab',
        rules: [{ t: 'set', p: 'last', pt: 'flow', to: 'payload', tot: 'msg' }],
        wires: [[]],
      },
    ]);
    const last = () => nodeRed.admin('GET', '/context/flow/tab/last?store=memory');
    await nodeRed.inject('button');
    await until('the flow has kept the message', async () => /pressed/.test(JSON.stringify(await last())));
    await nodeRed.restart();
    expect(await nodeRed.admin('GET', '/flows')).toMatchObject({
      flows: expect.arrayContaining([expect.objectContaining({ id: 'keep' })]),
    });
  });

  it('asks for its password', async () => {
    expect((await fetch(`${nodeRed.url}/flows`)).status).toBe(401);
    const wrong = await fetch(`${nodeRed.url}/flows`, { headers: { Authorization: 'Bearer wrong' } });
    expect(wrong.status).toBe(401);
  });
});
