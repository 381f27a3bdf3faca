/** Messages that mean harm, or come of a fault: each refusal names the field and the limit, and is a dead letter. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encode } from 'cborg';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Bench, createBench, letIn, message } from './support.ts';

const dir = mkdtempSync(join(tmpdir(), 'boardwalk-hostile-'));
afterAll(() => rmSync(dir, { recursive: true }));
const decoder = join(dir, 'given.mjs');
writeFileSync(
  decoder,
  "export const decode = ({ payload }) => eval('(' + new TextDecoder().decode(payload) + ')');",
);

const rules = [
  { match: 'json', decoder: 'json' },
  { match: 'json/{module}', decoder: 'json' },
  { match: 'cbor', decoder: 'cbor' },
  { match: 'senml', decoder: 'senml+json' },
  { match: 'list/{module}', decoder: 'status-list' },
  { match: 'lora', decoder: 'chirpstack' },
  { match: 'file', decoder: `file:${decoder}` },
];

let bench: Bench;
beforeEach(async () => {
  bench = createBench({ rules });
  await letIn(bench);
});
afterEach(() => bench.close());

const deep = (levels: number) => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;
const wide = (keys: number) =>
  JSON.stringify(Object.fromEntries(Array.from({ length: keys }, (_, key) => [`k${key}`, key])));
const uplink = (more: object) => JSON.stringify({ devEUI: '0101010101010101', fPort: 1, ...more });

describe('a hostile message', () => {
  it.each<[string, string | Uint8Array, string]>([
    ['json/n1', '{"temp":1e400}', "'n1/temp' must be a finite number"],
    ['json/n1', '{"temp":NaN}', 'the payload is not JSON'],
    ['json/n1', '{"a":"\\ud800"}', "'n1/a' must be well-formed text of at most 2000 characters"],
    ['json/n1', JSON.stringify('x'.repeat(2001)), "'n1/value' must be well-formed text of at most 2000"],
    ['json/n1', wide(10_000), 'the message has more than 1000 readings'],
    ['json/n1', deep(17), 'is nested deeper than 16 levels'],
    ['json/n1', deep(10_000), 'is nested deeper than 16 levels'],
    ['json/n1', JSON.stringify({ ['x'.repeat(150)]: 1 }), 'name must have 1 to 150 characters'],
    ['json/n1', '{"a b":1,"a_b":2}', "'a b' and 'a_b' would be the same stream"],
    ['json/a b', '{"a":1}', "'a b' is no name of a module (^[A-Za-z0-9_][A-Za-z0-9_.:-]*$, at most 60)"],
    [`json/${'n'.repeat(61)}`, '1', 'is no name of a module'],
    ['json/n1', '{"device":"n2","data":1}', "it is of 'n1' and of 'n2'"],
    ['json', '{"device":"n1\\n5","data":1}', 'is no name of a module'],
    ['json', '{"temp":1}', 'neither message nor rule names a module'],
    ['json/n1', '{"seq":-1,"data":1}', 'seq must be a whole number from 0 to 9007199254740991'],
    ['json/n1', '{"seq":9007199254740992,"data":1}', 'seq must be a whole number from 0 to'],
    ['json/n1', '{"time":0,"data":1}', 'time is not between the years 2000 and 9999'],
    ['json/n1', '{"time":1e300,"data":1}', 'time is not between the years 2000 and 9999'],
    ['json/n1', '{"time":"10000-01-01T00:00:00Z","data":1}', 'time is not an RFC 3339 time'],
    ['cbor', encode({ device: 'n1', data: { temp: Number.NaN } }), "'n1/temp' must be a finite number"],
    ['cbor', Buffer.from('a2010561310b', 'hex'), "the key '1' occurs twice"],
    [
      'senml',
      '[{"n":"n1/a","v":1,"t":-1e300}]',
      "the time of 'n1/a' must be between the years 1970 and 9999",
    ],
    ['senml', '[{"n":"n1/a","v":1,"t":1e300}]', 'record 0: its time is not between the years'],
    ['senml', '[{"n":"n1/__proto__/a b","v":1}]', 'is no SenML name'],
    ['list/hv', '[{"number":0,"on":2}]', 'on of channel 0 must be 0, 1, false or true'],
    ['lora', uplink({ object: { temp: '\udfff' } }), 'must be well-formed text'],
    ['lora', uplink({ fCnt: -1 }), 'fCnt must be a whole number from 0 to'],
    [
      'file',
      '{ device: "n1", readings: [{ measurement: "a", value: 1, at: -1 }] }',
      "the time of 'n1/a' must be",
    ],
    [
      'file',
      '{ device: "n1", readings: [{ measurement: "a", value: NaN }] }',
      "'n1/a' must be a finite number",
    ],
    ['file', '{ device: "n1", readings: [], __proto__: null, x: 1 }', 'x is not a known field'],
    ['file', '({ get readings() { throw { toString: 5 } } })', 'file:'],
  ])('to %s is refused: %.50s', async (path, payload, reason) => {
    const whole: Parameters<typeof bench.door.take>[0] = {
      path,
      payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
    };
    const outcome = await bench.door.take(whole);
    expect(outcome).toMatchObject({ status: 'dead', reason: 'undecodable' });
    expect(outcome).toMatchObject({ detail: expect.stringContaining(reason) });
    const [letter] = await bench.intake.letters.list({}, { limit: 1 });
    expect(letter?.detail).toContain(reason);
    expect(Buffer.from(letter?.message.payload ?? []).equals(whole.payload)).toBe(true);
    expect(bench.spool.peek(10)).toBeUndefined();
    expect(await bench.door.take({ path: 'json/n1', payload: Buffer.from('1') })).toMatchObject({
      status: 'stored',
    });
  });

  it.each(['abc', '-1', '1e3', '99999999999999999', ''])(
    'is refused for the number %j beside it',
    async (seq) => {
      const outcome = await bench.door.take(message(1, { path: 'json/n1', fields: { seq } }));
      expect(outcome).toMatchObject({ detail: expect.stringContaining('seq must be a whole number from 0') });
    },
  );

  it('is stored under the names that it has, and changes no object of ours', async () => {
    const payload = '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":1}},"\\ud800":2}';
    for (const path of ['json/n1', 'json/__proto__', 'json/constructor'])
      expect(await bench.door.take({ path, payload: Buffer.from(payload) })).toMatchObject({ readings: 3 });
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    expect(bench.intake.modules().map((each) => each.name)).toEqual(['n1', '__proto__', 'constructor']);
    expect(bench.spool.peek(10)?.streams.map((each) => each.name)).toEqual(
      ['n1', '__proto__', 'constructor'].flatMap((module) => [
        `${module}/__proto__.polluted`,
        `${module}/constructor.prototype.polluted`,
        `${module}/_`,
      ]),
    );
  });
});
