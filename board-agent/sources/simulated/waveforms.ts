/** Pure waveforms: the same seed and sample number give the same value, in any run. */
import type { ReadingValue } from '../../../common/wamp/readings.ts';
import type { SimulatedStreamSettings } from './settings.ts';

/** Value of a stream at its sample number 0, 1, 2 … Random walks must be asked in order. */
export type Waveform = (sample: number) => ReadingValue;

export function createWaveform(stream: SimulatedStreamSettings, seed: number): Waveform {
  const { waveform, type, rateHz, periodMs, amplitude, offset, values = [] } = stream;
  const phase = (sample: number) => ((sample * 1000) / rateHz / periodMs) % 1;
  const typed = (value: number): ReadingValue => (type === 'boolean' ? value > offset : value);

  switch (waveform) {
    case 'sine':
      return (sample) => typed(offset + amplitude * Math.sin(2 * Math.PI * phase(sample)));
    case 'square':
      return (sample) => typed(offset + (phase(sample) < 0.5 ? amplitude : -amplitude));
    case 'triangle':
      return (sample) => typed(offset + amplitude * (1 - 4 * Math.abs(((phase(sample) + 0.25) % 1) - 0.5)));
    case 'counter':
      return (sample) => typed(offset + amplitude * sample);
    case 'random-walk': {
      const random = createRandom(seed + hashName(stream.name));
      let position = offset;
      return () => {
        position += (random() * 2 - 1) * amplitude;
        return typed(position);
      };
    }
    case 'constant':
      return () => values[0] ?? typed(offset + (type === 'boolean' ? amplitude : 0));
    case 'cycle':
      return (sample) => values[Math.floor((sample * 1000) / rateHz / periodMs) % values.length] ?? '';
  }
}

/** mulberry32: small, good enough for demos, and the same on every machine. */
function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** FNV-1a, so that two random walks of one module differ. */
function hashName(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
