/** Declared waveforms for demos and tests, with procedures to take a stream over by hand, and one that takes time. */
import { join } from 'node:path';
import { AppError } from '../../../common/runtime/app-error.ts';
import type { ReadingValue, StreamDeclaration } from '../../../common/wamp/readings.ts';
import { procedurePrefix } from '../procedure-prefix.ts';
import type { BoardProcedure, Source, SourceContext } from '../source.ts';
import type { SimulatedSourceSettings } from './settings.ts';
import { createStepProcedure } from './step.ts';
import { createWaveform, type Waveform } from './waveforms.ts';

interface Channel {
  declaration: StreamDeclaration;
  rateHz: number;
  waveform: Waveform;
  /** Number of the next sample. */
  next: number;
  override?: ReadingValue;
}

/** Streams faster than this share ticks: a timer per sample would cost more than the sample. */
const shortestTickMs = 100;
/** After a pause of the process (suspend, debugger) no more than this is made up for. */
const longestCatchUpMs = 10_000;

export function createSimulatedSource(settings: SimulatedSourceSettings, context: SourceContext): Source {
  const { clock, emit } = context;
  const channels = new Map<string, Channel>();
  for (const stream of settings.streams) {
    const { name, type, unit, rateHz } = stream;
    channels.set(name, {
      declaration: { name: `${settings.module}/${name}`, type, unit },
      rateHz,
      waveform: createWaveform(stream, settings.seed),
      next: 0,
    });
  }
  let startedAt = 0;
  let startedMs = 0;
  let cancelTick: (() => void) | undefined;

  function tick(): void {
    const elapsedMs = clock.monotonicMs() - startedMs;
    for (const channel of channels.values()) emitDue(channel, elapsedMs);
    const dueMs = Math.min(...[...channels.values()].map((each) => (each.next * 1000) / each.rateHz));
    cancelTick = clock.after(Math.max(shortestTickMs, dueMs - (clock.monotonicMs() - startedMs)), tick);
  }

  function emitDue(channel: Channel, elapsedMs: number): void {
    const earliest = Math.ceil(((elapsedMs - longestCatchUpMs) * channel.rateHz) / 1000);
    channel.next = Math.max(channel.next, earliest);
    for (; (channel.next * 1000) / channel.rateHz <= elapsedMs; channel.next += 1) {
      const value = channel.waveform(channel.next);
      const at = Math.round(startedAt + (channel.next * 1000) / channel.rateHz);
      emit(channel.declaration, channel.override ?? value, at);
    }
  }

  return {
    modules: [
      {
        name: settings.module,
        description: 'Simulated streams',
        streams: [...channels.values()].map((each) => each.declaration),
      },
    ],
    procedures: [
      ...createProcedures(settings.module, channels),
      ...(['step', 'wait'] as const).map((name) =>
        createStepProcedure({
          name,
          module: settings.module,
          prefix: procedurePrefix(settings.module),
          clock,
          logPath: join(context.stateDir, 'executions.log'),
        }),
      ),
    ],
    start() {
      startedAt = clock.now();
      startedMs = clock.monotonicMs();
      for (const channel of channels.values()) channel.next = 0;
      tick();
    },
    stop() {
      cancelTick?.();
    },
  };
}

function createProcedures(module: string, channels: Map<string, Channel>): BoardProcedure[] {
  const prefix = procedurePrefix(module);
  const names = [...channels.keys()];
  // A contract has a bounded size; with many streams the names are left to the check below.
  const fits = names.length <= 200 && names.join().length <= 4000;
  const stream = fits ? { type: 'string', enum: names } : { type: 'string', maxLength: 80 };
  const find = (name: unknown): Channel => {
    const channel = channels.get(String(name));
    if (!channel) throw new AppError('invalid-arguments', `there is no stream '${String(name)}'`);
    return channel;
  };
  const answer = (channel: Channel) => ({
    stream: channel.declaration.name,
    overridden: channel.override !== undefined,
  });
  const result = {
    type: 'object',
    properties: { stream: { type: 'string' }, overridden: { type: 'boolean' } },
    required: ['stream', 'overridden'],
  };

  return [
    {
      contract: {
        name: `${prefix}.set`,
        description: 'Holds a stream at a value until reset.',
        kwargs: {
          type: 'object',
          properties: { stream, value: { type: ['number', 'boolean', 'string'], maxLength: 2000 } },
          required: ['stream', 'value'],
          additionalProperties: false,
        },
        result,
        safety: 'idempotent',
      },
      run(kwargs) {
        const channel = find(kwargs.stream);
        const wanted = channel.declaration.type === 'text' ? 'string' : channel.declaration.type;
        if (typeof kwargs.value !== wanted)
          throw new AppError('invalid-arguments', `value must be of type ${channel.declaration.type}`);
        channel.override = kwargs.value as ReadingValue;
        return answer(channel);
      },
    },
    {
      contract: {
        name: `${prefix}.reset`,
        description: 'Gives a stream, or all of them, back to its waveform.',
        kwargs: { type: 'object', properties: { stream }, additionalProperties: false },
        result: { type: 'object', properties: { reset: { type: 'integer' } }, required: ['reset'] },
        safety: 'idempotent',
      },
      run(kwargs) {
        const chosen = kwargs.stream === undefined ? [...channels.values()] : [find(kwargs.stream)];
        const held = chosen.filter((each) => each.override !== undefined);
        for (const channel of held) delete channel.override;
        return { reset: held.length };
      },
    },
  ];
}
