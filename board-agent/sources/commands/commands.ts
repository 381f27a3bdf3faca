/**
 * Makes procedures of commands. A call listens first, sends then, and ends with the first of: the
 * device's answer or the status that shows the request (done), the device's refusal
 * (`procedure-failed` with its words), the deadline (`deadline-exceeded`). Commands to one module go
 * one after the other, because a status says nothing of who asked; those that carry a correlation
 * need not wait for each other.
 */
import { randomBytes } from 'node:crypto';
import { AppError } from '../../../common/runtime/app-error.ts';
import type { JsonObject } from '../../../common/runtime/guards.ts';
import type { ModuleDeclaration } from '../../../common/wamp/agent-procedures.ts';
import type { Clock } from '../../clock.ts';
import type { BoardProcedure, CallContext } from '../source.ts';
import { contractOf } from './check.ts';
import { fits, parseSaid, readField, selectItem } from './conditions.ts';
import type { CommandSettings } from './settings.ts';
import { type Filling, fillPayload, fillTopic, placeholdersIn } from './template.ts';
import { createTurns } from './turns.ts';

export interface CommandRequest<C> {
  command: C;
  /** Fills a topic or path of the carrier's own settings. Throws AppError `invalid-arguments`. */
  fill(template: string): string;
  payload: Buffer;
  /** New for each call, 16 characters; a carrier whose protocol has such a thing sends it along. */
  correlation: string;
  /** Until the deadline. */
  timeoutMs: number;
  signal: AbortSignal;
}

export interface Heard {
  payload: Uint8Array;
  /** What the message itself says it answers. */
  correlation?: string;
}

export interface CommandCarrier<C extends CommandSettings> {
  /**
   * Resolves when it is handed over, with the device's answer when the protocol brings one back.
   * Rejects with AppError `unavailable` when it was not sent, `procedure-failed` when the device refused.
   */
  send(request: CommandRequest<C>): Promise<Uint8Array | undefined>;
  /** Hands over what comes on the topic until the returned function is called; `undefined` = the carrier's own place of answers. */
  listen?(topic: string | undefined, hear: (heard: Heard) => void): () => void;
}

export interface CommandParts {
  modules: ModuleDeclaration[];
  procedures: BoardProcedure[];
}

const messageLength = 500;

export function createCommands<C extends CommandSettings>(
  commands: readonly C[],
  carrier: CommandCarrier<C>,
  clock: Clock,
): CommandParts {
  const turns = createTurns();
  return {
    modules: [...new Set(commands.map((each) => each.module))].map((name) => ({ name, streams: [] })),
    procedures: commands.map((command) => ({
      contract: contractOf(command),
      run: (kwargs, context) => runCommand({ command, carrier, clock, turns }, kwargs, context),
    })),
  };
}

interface CommandContext<C extends CommandSettings> {
  command: C;
  carrier: CommandCarrier<C>;
  clock: Clock;
  turns: ReturnType<typeof createTurns>;
}

async function runCommand<C extends CommandSettings>(
  { command, carrier, clock, turns }: CommandContext<C>,
  kwargs: JsonObject,
  { signal }: CallContext,
): Promise<unknown> {
  const { module, timeoutMs } = command;
  const correlation = randomBytes(12).toString('base64url');
  const filling: Filling = { values: { ...kwargs, module, correlation }, texts: command.values ?? {} };
  const fill = (template: string) => fillTopic(template, filling);
  const payload = fillPayload(command.payload, filling);
  const startedMs = clock.monotonicMs();
  const deadline = new AbortController();
  const late = new AppError(
    'deadline-exceeded',
    `'${module}' has not shown within ${timeoutMs} ms that it was done`,
  );
  const cancel = clock.after(timeoutMs, () => deadline.abort(late));
  const either = AbortSignal.any([signal, deadline.signal]);
  const work = async () => {
    either.throwIfAborted();
    const left = timeoutMs - (clock.monotonicMs() - startedMs);
    if (left <= 0) throw late;
    const request = { command, fill, payload, correlation, timeoutMs: left, signal: either };
    return converse({ carrier, request, filling });
  };
  try {
    return await (isCorrelated(command) ? work() : turns.take(module, work, either));
  } finally {
    cancel();
  }
}

/** Whether the answer itself says which call it is of. */
function isCorrelated({ answer, status }: CommandSettings): boolean {
  if (status || !answer) return false;
  return answer.topic === undefined || placeholdersIn([answer.topic, answer.match]).includes('correlation');
}

interface Conversation<C extends CommandSettings> {
  carrier: CommandCarrier<C>;
  request: CommandRequest<C>;
  filling: Filling;
}

async function converse<C extends CommandSettings>({
  carrier,
  request,
  filling,
}: Conversation<C>): Promise<unknown> {
  const { command, fill, correlation, signal } = request;
  const { answer, status, error } = command;
  const ended = Promise.withResolvers<unknown>();
  // The wait may be over before anybody waits.
  ended.promise.catch(() => undefined);
  const onAbort = () => ended.reject(signal.reason);
  const closes: (() => void)[] = [() => signal.removeEventListener('abort', onAbort)];
  signal.addEventListener('abort', onAbort, { once: true });
  const listen = (topic: string | undefined, hear: (said: unknown) => void) => {
    const close = carrier.listen?.(topic, (heard) => {
      if (heard.correlation === undefined || heard.correlation === correlation)
        hear(parseSaid(heard.payload));
    });
    if (close) closes.push(close);
  };
  const takeAnswer = (said: unknown) => settleAnswer(command, said, filling, ended);
  try {
    if (answer) listen(answer.topic === undefined ? undefined : fill(answer.topic), takeAnswer);
    if (status)
      listen(fill(status.topic), (said) => {
        const item = selectItem(said, status.select, filling);
        if (item !== undefined && fits(item, status.when, filling))
          ended.resolve(partOf(item, status.result));
      });
    if (error)
      listen(fill(error.topic), (said) => {
        if (fits(said, error.match ?? {}, filling)) ended.reject(refusal(said, error.message));
      });
    const sent = carrier.send(request).then((direct) => {
      if (direct !== undefined && answer) takeAnswer(parseSaid(direct));
      return ended.promise;
    });
    return await Promise.race([sent, ended.promise]);
  } finally {
    for (const close of closes) close();
  }
}

function settleAnswer(
  { answer = {} }: CommandSettings,
  said: unknown,
  filling: Filling,
  ended: PromiseWithResolvers<unknown>,
): void {
  const { match, refused, message, result } = answer;
  if (match && !fits(said, match, filling)) return;
  if (refused && fits(said, refused, filling)) ended.reject(refusal(said, message));
  else ended.resolve(partOf(said, result));
}

function partOf(said: unknown, field: string | undefined): unknown {
  return field === undefined ? said : (readField(said, field) ?? null);
}

/** The device's words; all of what it said is beside them. */
export function refusal(said: unknown, field: string | undefined): AppError {
  const words = field === undefined ? said : readField(said, field);
  const text = typeof words === 'string' ? words : (JSON.stringify(words) ?? 'it was refused');
  const details = JSON.stringify(said)?.length <= 4 * messageLength ? { answer: said } : {};
  return new AppError('procedure-failed', text.slice(0, messageLength), { details });
}
