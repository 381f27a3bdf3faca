/** What every decoder keeps to, whatever the bytes are. */
import { describe, expect, it } from 'vitest';
import { decoderLimits } from '../../../../board-agent/intake/decoders/decoder-kind.ts';
import { decoderKinds } from '../../../../board-agent/intake/decoders/decoders.ts';
import { parseDecoded } from '../../../../board-agent/intake/decoders/file.ts';
import { AppError } from '../../../../common/runtime/app-error.ts';
import { parseSchema } from '../../../../common/wamp/contract.ts';
import { decode } from './decode.ts';
import { samples } from './samples.ts';

/** mulberry32: the same bytes in each run. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const interesting = [0x00, 0x22, 0x2c, 0x5b, 0x5d, 0x7b, 0x7d, 0x9f, 0xbf, 0xc0, 0xd8, 0xf9, 0xff];

function mutate(good: Uint8Array, random: () => number): Uint8Array {
  const bytes = [...good];
  const place = () => Math.floor(random() * (bytes.length + 1));
  for (let round = 1 + Math.floor(random() * 4); round > 0; round -= 1) {
    const what = random();
    const byte =
      random() < 0.5
        ? (interesting[Math.floor(random() * interesting.length)] ?? 0)
        : Math.floor(random() * 256);
    if (what < 0.3) bytes[Math.min(place(), bytes.length - 1)] = byte;
    else if (what < 0.5) bytes.splice(place(), 1 + Math.floor(random() * 8));
    else if (what < 0.7) bytes.splice(place(), 0, byte);
    else if (what < 0.9) bytes.splice(place(), 0, ...bytes.slice(place(), place()));
    else bytes.length = place();
  }
  return Uint8Array.from(bytes);
}

/** Whether it could be decoded; fails for anything that a decoder must not do. */
function attempt(name: string, payload: Uint8Array): boolean {
  const before = Buffer.from(payload);
  const startedMs = performance.now();
  let good = true;
  try {
    parseDecoded(decode(name, payload));
  } catch (error) {
    good = false;
    if (!(error instanceof AppError) || error.code !== 'invalid-arguments') throw error;
    expect(error.message).toMatch(/\S/);
    expect(error.message.length).toBeLessThan(600);
  }
  expect(performance.now() - startedMs).toBeLessThan(2000);
  expect(before.equals(payload)).toBe(true);
  return good;
}

const bytesOf = (sample: string | Uint8Array) => (typeof sample === 'string' ? Buffer.from(sample) : sample);

describe.each(decoderKinds.map((each) => each.name))('decoder %s', (name) => {
  const good = (samples[name] ?? []).map(bytesOf);

  it('has options within the subset of schemas that the agent checks, and samples here', () => {
    const kind = decoderKinds.find((each) => each.name === name);
    expect(() => parseSchema(kind?.options, 'options')).not.toThrow();
    expect(good.length).toBeGreaterThan(0);
  });

  it('decodes its samples, twice to the same', () => {
    for (const sample of good) {
      expect(parseDecoded(decode(name, sample)).readings.length).toBeGreaterThan(0);
      expect(decode(name, sample)).toEqual(decode(name, sample));
    }
  });

  it('refuses random bytes with a reason, never otherwise', () => {
    const random = createRandom(1);
    const results = Array.from({ length: 1000 }, () =>
      attempt(
        name,
        Uint8Array.from({ length: Math.floor(random() * 60) }, () => Math.floor(random() * 256)),
      ),
    );
    expect(results).toContain(false);
  });

  it('decodes or refuses good messages with faults in them', () => {
    const random = createRandom(2);
    let decoded = 0;
    for (let round = 0; round < 1500; round += 1) {
      const sample = good[round % good.length] ?? Buffer.alloc(0);
      if (attempt(name, mutate(sample, random))) decoded += 1;
    }
    expect(decoded).toBeLessThan(1500);
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['deep JSON lists', Buffer.from(`${'['.repeat(100_000)}${']'.repeat(100_000)}`)],
    ['deep JSON objects', Buffer.from(`${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`)],
    ['deep CBOR lists', Buffer.alloc(200_000, 0x81)],
    ['deep CBOR lists without end', Buffer.alloc(200_000, 0x9f)],
    ['deep CBOR tags', Buffer.alloc(200_000, 0xc1)],
    ['a CBOR list that says it is very long', Buffer.from('9bffffffffffffff01', 'hex')],
    ['a CBOR text that says it is very long', Buffer.from('7bffffffffffffff61', 'hex')],
    ['too many JSON values', Buffer.from(`[${'{"a":1},'.repeat(decoderLimits.readings)}{"a":1}]`)],
    ['too many values with parity', Buffer.from('1,0,'.repeat(decoderLimits.readings))],
    ['a name that is not Unicode', Buffer.from([0x22, 0xff, 0x22])],
    ['half of a pair of surrogates', Buffer.from('{"a":"\\ud800"}')],
    ['a prototype', Buffer.from('{"__proto__":{"device":"x","data":1},"constructor":2}')],
  ])('survives %s', (_, payload) => {
    attempt(name, payload);
    expect(({} as Record<string, unknown>).device).toBeUndefined();
  });
});
