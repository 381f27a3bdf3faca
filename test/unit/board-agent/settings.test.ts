import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, describe, expect, it } from 'vitest';
import schema from '../../../board-agent/settings.schema.json' with { type: 'json' };
import { loadSettings, parseSettings } from '../../../board-agent/settings.ts';
import { settingsSchema } from '../../../board-agent/settings-schema.ts';
import { ConfigError } from '../../../common/runtime/config.ts';

const dir = mkdtempSync(join(tmpdir(), 'boardwalk-settings-'));
afterAll(() => rmSync(dir, { recursive: true }));

const stream = { name: 'voltage', waveform: 'sine' };
const simulated = { kind: 'simulated', streams: [stream] };
const full = {
  logLevel: 'debug',
  connectivity: 'wifi',
  spool: { maxBytes: 2_000_000, maxAgeDays: 0.5, commitIntervalMs: 1000 },
  sources: [
    { kind: 'system', module: 'host', intervalMs: 1000, mounts: ['/', '/data'] },
    {
      kind: 'simulated',
      module: 'hv',
      seed: 7,
      streams: [
        { ...stream, type: 'number', unit: 'V', rateHz: 10, periodMs: 500, amplitude: 2, offset: -1 },
        { name: 'mode', waveform: 'cycle', type: 'text', values: ['a', 'b'] },
        { name: 'door', waveform: 'constant', type: 'boolean', values: [true] },
      ],
    },
  ],
};

function faultsOf(value: unknown): string[] {
  try {
    parseSettings(value);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return [...error.faults];
    throw error;
  }
}

/** Every object that differs from `value` in one member: taken away, renamed, or of another kind. */
function mutate(value: unknown): unknown[] {
  const strange = [null, true, -1, 0.5, 1e15, '', 'x', '\n', 'a b', [], {}, [1], { a: 1 }];
  if (Array.isArray(value)) {
    const inner = value.flatMap((each, index) =>
      mutate(each).map((other) => value.map((item, at) => (at === index ? other : item))),
    );
    return [...strange, ...inner, [...value, 5]];
  }
  if (typeof value !== 'object' || value === null) return strange;
  const inner = Object.entries(value).flatMap(([name, each]) => {
    const { [name]: _gone, ...rest } = value as Record<string, unknown>;
    return [rest, ...mutate(each).map((other) => ({ ...value, [name]: other }))];
  });
  return [...strange, ...inner, { ...value, unknown: 1 }];
}

describe('settings', () => {
  it('has sensible defaults: the host’s own figures, 256 MB, 30 days', () => {
    expect(parseSettings({})).toEqual({
      spool: { maxBytes: 268_435_456, maxAgeDays: 30, commitIntervalMs: 200 },
      sources: [{ kind: 'system', module: 'system', intervalMs: 5000, mounts: ['/'] }],
    });
  });

  it('keeps what is given and fills in the rest, down to the streams', () => {
    expect(parseSettings(full)).toMatchObject(full);
    expect(parseSettings({ sources: [simulated] }).sources[0]).toMatchObject({
      module: 'simulated',
      streams: [{ type: 'number', rateHz: 1, unit: '', amplitude: 1 }],
    });
  });

  it('reports every fault at once, with its place', () => {
    const faults = faultsOf({ logLevel: 'loud', spool: { maxBytes: 1, maxAge: 2 }, extra: 1 });
    expect(faults).toHaveLength(4);
    for (const place of ['/logLevel', '/spool/maxBytes', '/spool/maxAge', '/extra'])
      expect(faults.some((fault) => fault.startsWith(`${place} `))).toBe(true);
  });

  it.each([
    ['a kind that does not exist', [{ kind: 'telepathy' }], '/sources/0/kind'],
    ['a module used twice', [{ kind: 'system' }, { kind: 'system' }], '/sources/1/module'],
    ['a stream used twice', [{ ...simulated, streams: [stream, stream] }], '/sources/0/streams/1/name'],
    [
      'values of another type',
      [{ ...simulated, streams: [{ ...stream, waveform: 'cycle', values: ['a'] }] }],
      '/sources/0/streams/0/values',
    ],
    [
      'a text that waves',
      [{ ...simulated, streams: [{ ...stream, type: 'text', values: ['a'] }] }],
      '/sources/0/streams/0/waveform',
    ],
    ['a name with a blank', [{ kind: 'system', module: 'a b' }], '/sources/0/module'],
  ])('names the place of %s', (_what, sources, place) => {
    expect(faultsOf({ sources })[0]).toMatch(new RegExp(`^${place} `));
  });

  it('is published as it is checked', () => {
    expect(schema).toEqual(settingsSchema);
  });

  it('accepts and refuses exactly what the published schema does', () => {
    const validate = new Ajv2020({ strict: false }).compile(schema);
    // What no schema can say is tested above; these words mark it.
    const beyondSchema = /is taken by another|is used twice|values of type|is required for text|for text$/;
    const cases = [full, ...mutate(full)];
    let refused = 0;
    for (const each of cases) {
      const faults = faultsOf(each).filter((fault) => !beyondSchema.test(fault));
      expect({ each, valid: faults.length === 0 }).toEqual({ each, valid: validate(each) });
      if (faults.length > 0) refused += 1;
    }
    expect(cases.length).toBeGreaterThan(300);
    expect(refused).toBeGreaterThan(200);
    // Compiling the schema of all kinds takes a second, and five on a machine that is busy.
  }, 30_000);

  it('reads YAML and JSON, from the state folder or a named file', async () => {
    expect((await loadSettings(dir)).sources).toHaveLength(1);
    writeFileSync(
      join(dir, 'settings.yaml'),
      'logLevel: warn\nsources:\n  - kind: system\n    intervalMs: 250\n',
    );
    expect(await loadSettings(dir)).toMatchObject({ logLevel: 'warn', sources: [{ intervalMs: 250 }] });
    const named = join(dir, 'other.json');
    writeFileSync(named, '{"logLevel":"error"}');
    expect(await loadSettings(dir, named)).toMatchObject({ logLevel: 'error' });
    writeFileSync(named, '{"logLevel":');
    await expect(loadSettings(dir, named)).rejects.toBeInstanceOf(ConfigError);
    await expect(loadSettings(dir, join(dir, 'missing.yaml'))).rejects.toBeInstanceOf(ConfigError);
  });
});
