import { describe, expect, it } from 'vitest';
import { createPowerSupply, Refusal } from '../../../examples/slow-control/devices/power-supply.ts';

describe('the dummy power supply', () => {
  const create = () => createPowerSupply({ channels: 4, maxVolts: 1000, rampVoltsPerSecond: 50 });

  it('has its channels off at first', () => {
    expect(create().status()).toEqual([0, 1, 2, 3].map((number) => ({ number, on: 0, vreq: 0, vmeas: 0 })));
  });

  it('ramps to the request when on, and down to nothing when off', () => {
    const supply = create();
    supply.command('setv', '2', '120');
    supply.step(1);
    expect(supply.status()[2]).toEqual({ number: 2, on: 0, vreq: 120, vmeas: 0 });
    supply.command('switch', '2', 'on');
    const seen = [1, 1, 1, 1].map((seconds) => {
      supply.step(seconds);
      return supply.status()[2]?.vmeas;
    });
    expect(seen).toEqual([50, 100, 120, 120]);
    supply.command('setv', '2', '90.5');
    supply.step(0.5);
    expect(supply.status()[2]?.vmeas).toBe(95);
    supply.command('switch', 'all', 'off');
    supply.step(10);
    expect(supply.status()[2]).toEqual({ number: 2, on: 0, vreq: 90.5, vmeas: 0 });
  });

  it.each([
    ['unknown-command', 'explode', '0', 'on'],
    ['unknown-command', 'toString', '0', 'on'],
    ['no-such-channel', 'switch', '4', 'on'],
    ['no-such-channel', 'switch', '-1', 'on'],
    ['no-such-channel', 'switch', '', 'on'],
    ['no-such-channel', 'setv', '1.0', '10'],
    ['bad-value', 'switch', '0', '1'],
    ['bad-value', 'switch', '0', 'ON'],
    ['bad-value', 'switch', 'all', ''],
    ['bad-value', 'setv', '0', 'high'],
    ['bad-value', 'setv', '0', ''],
    ['bad-value', 'setv', '0', '-1'],
    ['bad-value', 'setv', '0', '1000.1'],
    ['bad-value', 'setv', '0', 'NaN'],
    ['bad-value', 'setv', '0', 'Infinity'],
  ])('refuses with %s: %s/%s %j, and changes nothing', (code, command, channel, payload) => {
    const supply = create();
    supply.command('setv', '0', '10');
    supply.command('switch', '0', 'on');
    const before = supply.status();
    expect(() => supply.command(command, channel, payload)).toThrow(Refusal);
    expect(() => supply.command(command, channel, payload)).toThrow(expect.objectContaining({ code }));
    expect(supply.status()).toEqual(before);
  });
});
