/**
 * A dummy power supply, without any transport: channels that are switched and set, and whose voltage
 * follows the request at a limited rate. A refused command changes nothing.
 */
export interface Channel {
  number: number;
  on: 0 | 1;
  /** Volts. */
  vreq: number;
  vmeas: number;
}

export interface PowerSupplyOptions {
  channels: number;
  maxVolts: number;
  rampVoltsPerSecond: number;
}

export interface PowerSupply {
  /** Throws Refusal. `channel` is a number as text, or `all`. */
  command(command: string, channel: string, payload: string): void;
  /** Lets time pass. */
  step(seconds: number): void;
  status(): Channel[];
}

type RefusalCode = 'unknown-command' | 'no-such-channel' | 'bad-value';

/** What a device refuses; `code` is for programs, the message for people. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: RefusalCode;

  constructor(code: RefusalCode, message: string) {
    super(message);
    this.code = code;
  }
}

export function createPowerSupply(options: PowerSupplyOptions): PowerSupply {
  const { channels, maxVolts, rampVoltsPerSecond } = options;
  const state: Channel[] = Array.from({ length: channels }, (_, number) => ({
    number,
    on: 0,
    vreq: 0,
    vmeas: 0,
  }));

  /** The channel of that number, or every one for `all`: an interlock has no time for one after the other. */
  function find(text: string): Channel[] {
    if (text === 'all') return state;
    const channel = /^\d{1,3}$/.test(text) ? state[Number(text)] : undefined;
    if (channel === undefined)
      throw new Refusal('no-such-channel', `there are channels 0 to ${channels - 1} and all, not '${text}'`);
    return [channel];
  }

  const commands = new Map<string, (payload: string) => Partial<Channel>>([
    [
      'switch',
      (payload) => {
        if (payload !== 'on' && payload !== 'off')
          throw new Refusal('bad-value', `switch takes on or off, not '${payload}'`);
        return { on: payload === 'on' ? 1 : 0 };
      },
    ],
    [
      'setv',
      (payload) => {
        const volts = payload.trim() === '' ? Number.NaN : Number(payload);
        if (!Number.isFinite(volts) || volts < 0 || volts > maxVolts)
          throw new Refusal('bad-value', `setv takes a number from 0 to ${maxVolts}, not '${payload}'`);
        return { vreq: volts };
      },
    ],
  ]);

  return {
    command(name, channel, payload) {
      const run = commands.get(name);
      if (run === undefined)
        throw new Refusal(
          'unknown-command',
          `there are ${[...commands.keys()].join(' and ')}, not '${name}'`,
        );
      const wanted = find(channel);
      const change = run(payload);
      for (const each of wanted) Object.assign(each, change);
    },
    step(seconds) {
      for (const channel of state) {
        const aim = channel.on ? channel.vreq : 0;
        const most = rampVoltsPerSecond * seconds;
        const change = Math.min(Math.max(aim - channel.vmeas, -most), most);
        channel.vmeas = Math.round((channel.vmeas + change) * 1000) / 1000;
      }
    },
    status: () => state.map((channel) => ({ ...channel })),
  };
}
