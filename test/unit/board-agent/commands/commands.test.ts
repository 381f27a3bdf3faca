import { describe, expect, it } from 'vitest';
import { checkCommands } from '../../../../board-agent/sources/commands/check.ts';
import {
  type CommandCarrier,
  type CommandRequest,
  createCommands,
  type Heard,
} from '../../../../board-agent/sources/commands/commands.ts';
import type { CommandSettings } from '../../../../board-agent/sources/commands/settings.ts';
import { AppError } from '../../../../common/runtime/app-error.ts';
import type { JsonObject } from '../../../../common/runtime/guards.ts';
import { createFakeClock } from '../fakes.ts';

interface Command extends CommandSettings {
  request: { topic: string };
}

/** As the slow-control demonstrator has it. */
const hvSwitch: Command = {
  module: 'hv',
  name: 'switch',
  kwargs: {
    type: 'object',
    properties: { channel: { type: ['integer', 'string'] }, on: { type: 'boolean' } },
    required: ['channel', 'on'],
  },
  safety: 'idempotent',
  timeoutMs: 5000,
  values: { on: { true: 'on', false: 'off' } },
  request: { topic: '/hv/cmd/switch/{channel}' },
  payload: '{on}',
  status: { topic: '/hv/status', select: { number: '{channel}' }, when: { on: '{on}' } },
  error: { topic: '/hv/error', match: { command: 'switch', channel: '{channel}' }, message: 'message' },
};

const status = (...on: number[]) => on.map((each, number) => ({ number, on: each, vreq: 0, vmeas: 0 }));

function createBench(commands: Command[] = [hvSwitch]) {
  const clock = createFakeClock();
  const heard = new Map<string, Set<(heard: Heard) => void>>();
  const sent: { topic: string; payload: string; correlation: string }[] = [];
  let answerSend: (request: CommandRequest<Command>) => Promise<Uint8Array | undefined> = async () =>
    undefined;
  const carrier: CommandCarrier<Command> = {
    async send(request) {
      const topic = request.fill(request.command.request.topic);
      sent.push({ topic, payload: String(request.payload), correlation: request.correlation });
      return answerSend(request);
    },
    listen(topic = 'own', hear) {
      const there = heard.get(topic) ?? new Set();
      heard.set(topic, there.add(hear));
      return () => {
        there.delete(hear);
        if (there.size === 0) heard.delete(topic);
      };
    },
  };
  const { procedures, modules } = createCommands(commands, carrier, clock);
  return {
    clock,
    sent,
    heard,
    modules,
    procedures,
    onSend: (work: typeof answerSend) => {
      answerSend = work;
    },
    say(topic: string, value: unknown, correlation?: string) {
      const payload = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
      for (const hear of heard.get(topic) ?? [])
        hear({ payload, ...(correlation !== undefined && { correlation }) });
    },
    call: async (name: string, kwargs: JsonObject, signal = new AbortController().signal) =>
      procedures.find((each) => each.contract.name === name)?.run(kwargs, { signal }),
  };
}

const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('commands to devices', () => {
  it('ends with the status of the channel once it shows the request', async () => {
    const { call, say, sent, heard, modules } = createBench();
    const called = call('hv.switch', { channel: 1, on: true });
    await settle();
    expect(sent).toMatchObject([{ topic: '/hv/cmd/switch/1', payload: 'on' }]);
    say('/hv/status', status(1, 0, 0));
    say('/hv/status', 'nonsense');
    say('/hv/status', status(0, 1, 0));
    expect(await called).toEqual({ number: 1, on: 1, vreq: 0, vmeas: 0 });
    expect(heard.size).toBe(0);
    expect(modules).toEqual([{ name: 'hv', streams: [] }]);
  });

  it('fails with the words of the device, and not with those meant for others', async () => {
    const { call, say, heard } = createBench();
    const called = call('hv.switch', { channel: 9, on: true });
    await settle();
    say('/hv/error', { command: 'setv', channel: '9', message: 'other command' });
    say('/hv/error', { command: 'switch', channel: '1', message: 'other channel' });
    say('/hv/error', {
      command: 'switch',
      channel: '9',
      code: 'no-such-channel',
      message: 'channels 0 to 3',
    });
    await expect(called).rejects.toMatchObject({
      code: 'procedure-failed',
      message: 'channels 0 to 3',
      details: { answer: { code: 'no-such-channel' } },
    });
    expect(heard.size).toBe(0);
  });

  it('fails at the deadline, with nothing left listening', async () => {
    const { call, clock, heard } = createBench();
    const called = call('hv.switch', { channel: 0, on: true });
    const failed = expect(called).rejects.toMatchObject({ code: 'deadline-exceeded' });
    await clock.advance(4999);
    expect(heard.size).toBe(2);
    await clock.advance(1);
    await failed;
    expect(heard.size).toBe(0);
    expect(clock.pending()).toEqual([]);
  });

  it('fails at once when nothing could be sent', async () => {
    const { call, clock, onSend } = createBench();
    onSend(() => Promise.reject(new AppError('unavailable', 'the broker is away')));
    await expect(call('hv.switch', { channel: 0, on: true })).rejects.toMatchObject({ code: 'unavailable' });
    expect(clock.pending()).toEqual([]);
  });

  it.each(['a/b', '+', '#', '', 'x\u0000', 'x\ny', '..', 'x'.repeat(201), '\ud800'])(
    'lets no argument lead to another topic: %j',
    async (channel) => {
      const { call, sent } = createBench();
      await expect(call('hv.switch', { channel, on: true })).rejects.toMatchObject({
        code: 'invalid-arguments',
      });
      expect(sent).toEqual([]);
    },
  );

  it('keeps further lines out of text payloads, and escapes what goes into JSON', async () => {
    const kwargs = { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] };
    const text = { ...hvSwitch, name: 'text', kwargs, payload: 'SAY {text}', request: { topic: '/hv/say' } };
    const common = { answer: { topic: '/hv/said' }, status: undefined, error: undefined } as never;
    const json = { ...text, name: 'json', payload: { say: '{text}', as: ['is {text}'], extra: '{more}' } };
    json.kwargs = { ...kwargs, properties: { ...kwargs.properties, more: { type: 'number' } } } as never;
    const { call, say, sent } = createBench([
      { ...text, ...(common as object) },
      { ...json, ...(common as object) },
    ]);
    await expect(call('hv.text', { text: 'a\nOUTPUT ON' })).rejects.toMatchObject({
      code: 'invalid-arguments',
    });
    const called = call('hv.json', { text: 'a"},{"\n' });
    await settle();
    expect(JSON.parse(sent[0]?.payload ?? '')).toEqual({ say: 'a"},{"\n', as: ['is a"},{"\n'] });
    say('/hv/said', 'plain words');
    expect(await called).toBe('plain words');
  });

  it('gives commands to one device their turns, within the deadline of each', async () => {
    const { call, say, sent, clock } = createBench([hvSwitch, { ...hvSwitch, module: 'lv' }]);
    const first = call('hv.switch', { channel: 0, on: true });
    const second = call('hv.switch', { channel: 1, on: true });
    const third = call('hv.switch', { channel: 2, on: true });
    const other = call('lv.switch', { channel: 0, on: true });
    await settle();
    expect(sent.map((each) => each.topic)).toEqual(['/hv/cmd/switch/0', '/hv/cmd/switch/0']);
    const late = expect(third).rejects.toMatchObject({ code: 'deadline-exceeded' });
    say('/hv/status', status(1, 1, 0));
    await first;
    await other;
    await settle();
    expect(sent).toHaveLength(3);
    const stuck = expect(second).rejects.toMatchObject({ code: 'deadline-exceeded' });
    await clock.advance(4000);
    const stopped = new AbortController();
    const fourth = call('hv.switch', { channel: 3, on: true }, stopped.signal);
    stopped.abort(new Error('cancelled'));
    await expect(fourth).rejects.toThrow('cancelled');
    await clock.advance(1000);
    await stuck;
    await late;
    expect(sent).toHaveLength(3);
    expect(clock.pending()).toEqual([]);
    const last = call('hv.switch', { channel: 1, on: true });
    await settle();
    say('/hv/status', status(1, 1, 0));
    expect(await last).toMatchObject({ number: 1 });
  });

  it('tells concurrent calls apart by their correlation', async () => {
    const kwargs = { type: 'object', properties: { value: { type: 'number' } }, required: ['value'] };
    const command: Command = {
      module: 'plc',
      name: 'write',
      kwargs,
      safety: 'at-most-once',
      timeoutMs: 1000,
      request: { topic: 'plc/req' },
      payload: { id: '{correlation}', value: '{value}' },
      answer: {
        topic: 'plc/res',
        match: { id: '{correlation}' },
        refused: { ok: false },
        message: 'error.text',
        result: 'data',
      },
    };
    const { call, say, sent } = createBench([command]);
    const calls = [1, 2, 3].map((value) => call('plc.write', { value }));
    const third = expect(calls[2]).rejects.toMatchObject({ code: 'procedure-failed', message: 'too much' });
    await settle();
    const requests = sent.map((each) => JSON.parse(each.payload) as { id: string; value: number });
    expect(new Set(requests.map((each) => each.id)).size).toBe(3);
    for (const { id, value } of requests.reverse())
      say(
        'plc/res',
        value === 3 ? { id, ok: false, error: { text: 'too much' } } : { id, ok: true, data: value },
      );
    expect(await calls[0]).toBe(1);
    expect(await calls[1]).toBe(2);
    await third;
  });

  it('takes the answer that a carrier brings back itself', async () => {
    const command = { ...hvSwitch, status: undefined, error: undefined, answer: { result: 'v' } };
    const { call, onSend } = createBench([command as unknown as Command]);
    onSend(async () => Buffer.from('{"v":7}'));
    expect(await call('hv.switch', { channel: 0, on: false })).toBe(7);
  });

  it('names every fault of the settings', () => {
    const faulty: Partial<Command>[] = [
      { status: undefined as never },
      { request: { topic: '/hv/{other}' } },
      { request: { topic: '/hv/#' } },
      { payload: '{"a": "{on}"}' },
      { values: { of: {} } },
      { kwargs: { type: 'object', properties: { channel: {}, on: {} }, required: ['channel'] } },
      {
        kwargs: {
          type: 'object',
          properties: { channel: { pattern: 'x' }, on: {} },
          required: ['channel', 'on'],
        },
      },
      {},
      {},
    ];
    const commands = faulty.map((each, index) => ({ ...hvSwitch, name: `c${Math.min(index, 7)}`, ...each }));
    const faults = checkCommands(commands, '/sources/0/commands', ({ request }) => ({
      'request/topic': request.topic,
    }));
    const places = faults.map(
      ({ pointer, message }) => `${pointer.slice('/sources/0/commands'.length)} ${message}`,
    );
    expect(places).toEqual([
      '/0 must have answer or status: how is the device known to have done it?',
      "/1/request/topic '{other}' is no argument of the command",
      '/2/request/topic must not contain +, # or control characters',
      '/3/payload must be JSON itself, not a text that holds JSON',
      '/4/values/of is no argument of the command',
      "/5/payload '{on}' must be a required argument",
      "/5/status '{on}' must be a required argument",
      '/6 contract.kwargs.properties.channel.pattern is not a known field',
      "/8/name 'hv.c7' is there twice",
    ]);
  });
});
