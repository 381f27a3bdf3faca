import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadFileDecoder, type SlowDecoder } from '../../../../board-agent/intake/decoders/file.ts';
import { compileRules } from '../../../../board-agent/intake/rules.ts';
import type { DecoderInput } from '../../../../board-agent/intake/types.ts';
import { loadSettings } from '../../../../board-agent/settings.ts';

const dir = mkdtempSync(join(tmpdir(), 'boardwalk-decoder-'));
afterAll(() => rmSync(dir, { recursive: true }));

let files = 0;
function write(code: string): string {
  files += 1;
  const path = join(dir, `decoder-${files}.mjs`);
  writeFileSync(path, code);
  return path;
}

const input: DecoderInput = {
  path: 'r',
  payload: Uint8Array.of(1, 2),
  captures: { module: 'n1' },
  receivedAt: 5,
  options: { factor: 10 },
};

const load = (body: string, onSlow?: (slow: SlowDecoder) => void) =>
  loadFileDecoder(`file:${write(`export function decode(input) { ${body} }`)}`, onSlow);

describe('a decoder in a file', () => {
  it('gets the message with its captures and options, and gives readings', () => {
    const kind = load(`const { payload, options, captures } = input;
      const value = payload[0] * options.factor;
      payload.fill(0);
      return { device: captures.module, seq: 3, readings: [{ measurement: 'x', value, unit: 'V', at: input.receivedAt }] };`);
    expect(kind.decode(input)).toEqual({
      device: 'n1',
      seq: 3,
      readings: [{ measurement: 'x', value: 10, unit: 'V', at: 5 }],
    });
    expect([...input.payload]).toEqual([1, 2]);
  });

  it.each([
    ['throw new Error("bad frame")', 'bad frame'],
    ['throw undefined', 'undefined'],
    ['return null', 'the decoder’s result must be an object'],
    ['return { readings: 1 }', 'readings must be an array'],
    ['return { readings: [], more: 1 }', 'more is not a known field'],
    ['return { readings: [{ measurement: "x" }] }', 'readings[0].value must be'],
    [
      'return { readings: [{ measurement: "x", value: 1, at: NaN }] }',
      'readings[0].at must be a finite number',
    ],
    ['return { readings: [], seq: -1 }', 'seq must be from 0'],
    ['return { readings: [], signed: "x" }', 'signed must be bytes'],
    ['return { readings: Array(1001).fill({ measurement: "x", value: 1 }) }', 'at most 1000 items'],
    ['return Promise.reject(new Error("x"))', 'not a promise'],
  ])('is told what is wrong: %s', (body, reason) => {
    const kind = load(body);
    expect(() => kind.decode(input)).toThrow(expect.objectContaining({ code: 'invalid-arguments' }));
    expect(() => kind.decode(input)).toThrow(reason);
  });

  it('says when a message takes more than 50 ms', () => {
    const slow: SlowDecoder[] = [];
    const kind = load(
      'const end = Date.now() + 80; while (Date.now() < end); return { readings: [] };',
      (each) => slow.push(each),
    );
    kind.decode(input);
    kind.decode(input);
    expect(slow.map((each) => each.count)).toEqual([1, 2]);
    expect(slow[0]?.tookMs).toBeGreaterThan(50);
  });

  it.each([
    ['export const decode = 1;', "must export a function 'decode'"],
    ['export function decode( {', 'cannot be loaded'],
    ['throw new Error("at the start")', 'at the start'],
  ])('is refused at the start when it is no decoder: %s', (code, reason) => {
    expect(() => compileRules([{ match: '#', decoder: `file:${write(code)}` }])).toThrow(reason);
  });

  it('is refused when there is no file, with a pointer', () => {
    expect(() => compileRules([{ match: '#', decoder: 'file:/nowhere/x.mjs' }])).toThrow(
      /\/rules\/0\/decoder .*cannot be loaded/,
    );
  });

  it('is found from where the settings are', async () => {
    const path = write('export function decode() { return { readings: [] } }');
    const settingsPath = join(dir, 'field.json');
    const rules = [{ match: '#', decoder: `file:${path.slice(dir.length + 1)}` }];
    writeFileSync(settingsPath, JSON.stringify({ sources: [{ kind: 'http', rules }] }));
    const { sources } = await loadSettings('/elsewhere', settingsPath);
    expect(sources[0]?.rules?.[0]?.decoder).toBe(`file:${path}`);
    expect(() => compileRules(sources[0]?.rules ?? [])).not.toThrow();
  });
});
