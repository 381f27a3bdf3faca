/** Procedures for what the intake could not make readings of; only boards whose sources hear messages have them. */
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { DeadLetter } from '../intake/dead-letters.ts';
import type { LetterBox, LetterFilter } from '../intake/letter-box.ts';
import { deadReasons } from '../intake/types.ts';
import type { BoardProcedure } from '../sources/source.ts';

/** A dead letter in JSON. The payload is text where it is UTF-8, else in base64. */
export interface LetterView {
  id: number;
  /** RFC 3339. */
  at: string;
  source: string;
  reason: string;
  detail: string;
  module?: string;
  path: string;
  contentType?: string;
  fields?: Readonly<Record<string, string>>;
  bytes: number;
  payload?: string;
  payloadBase64?: string;
  /** The payload is cut; `full` shows all of it. */
  cut?: true;
}

const shownBytes = 500;
/** Payloads of one answer. */
const answerBytes = 400_000;
const page = { most: 200, usual: 50 } as const;

const text = { type: 'string', minLength: 1, maxLength: 60 };
const count = { type: 'integer', minimum: 0 };
const reason = { type: 'string', enum: [...deadReasons] };
const filter = {
  ids: { type: 'array', items: { type: 'integer', minimum: 1 }, minItems: 1, maxItems: 1000 },
  reason,
  source: text,
  all: { description: 'Needed when nothing else says which.', type: 'boolean', enum: [true] },
};
const counts = (...names: string[]) => ({
  type: 'object',
  properties: Object.fromEntries(names.map((name) => [name, count])),
  required: names,
});

const which = {
  type: 'object',
  properties: filter,
  additionalProperties: false,
  minProperties: 1,
};

export function createDeadLetterProcedures(letters: LetterBox): BoardProcedure[] {
  return [
    {
      contract: {
        name: 'gateway.dead_letters',
        description: 'Messages that could not become readings, or wait for a decision, the oldest first.',
        kwargs: {
          type: 'object',
          properties: {
            reason,
            source: text,
            after: { ...count, description: 'Id of the last one of the page before.' },
            limit: { type: 'integer', minimum: 1, maximum: page.most, default: page.usual },
            full: { type: 'boolean', description: 'With whole payloads; then there may be fewer.' },
          },
          additionalProperties: false,
        },
        result: {
          type: 'object',
          properties: {
            letters: { type: 'array', items: { type: 'object' } },
            next: { type: ['integer', 'null'], description: 'For `after`; null on the last page.' },
            summary: { type: 'object' },
          },
          required: ['letters', 'next', 'summary'],
        },
        safety: 'idempotent',
      },
      run: async (kwargs) => {
        const {
          after,
          limit = page.usual,
          full,
        } = kwargs as { after?: number; limit?: number; full?: boolean };
        const found = await letters.list(asFilter(kwargs), { limit, ...(after !== undefined && { after }) });
        const shown = upToBytes(found, full === true);
        const isLast = shown.length === found.length && found.length < limit;
        return {
          letters: shown.map((each) => viewOf(each, full === true)),
          next: isLast ? null : (shown.at(-1)?.id ?? null),
          summary: await letters.summary(),
        };
      },
    },
    {
      contract: {
        name: 'gateway.replay_dead_letters',
        description: 'Sends dead letters through the intake again, e.g. after a rule was mended.',
        kwargs: which,
        result: counts('stored', 'duplicate', 'held', 'dead'),
        // What has become readings is no dead letter any more.
        safety: 'idempotent',
      },
      run: (kwargs) => letters.replay(asFilter(kwargs)),
    },
    {
      contract: {
        name: 'gateway.drop_dead_letters',
        description: 'Deletes dead letters for good; those that wait for a decision too.',
        kwargs: which,
        result: counts('dropped'),
        safety: 'journaled',
        onCrash: 'failed',
      },
      run: async (kwargs) => ({ dropped: await letters.drop(asFilter(kwargs)) }),
    },
  ];
}

function asFilter({ ids, reason, source }: JsonObject): LetterFilter {
  return {
    ...(ids !== undefined && { ids }),
    ...(reason !== undefined && { reason }),
    ...(source !== undefined && { source }),
  } as LetterFilter;
}

/** The first, and as many more as fit into an answer. */
function upToBytes(found: readonly DeadLetter[], full: boolean): DeadLetter[] {
  let bytes = 0;
  return found.filter(({ message }, index) => {
    bytes += full ? message.payload.length * 2 : 0;
    return index === 0 || bytes <= answerBytes;
  });
}

function viewOf(letter: DeadLetter, full: boolean): LetterView {
  const { id, at, source, reason, detail, module, message } = letter;
  const { path, contentType, fields, payload } = message;
  const isCut = !full && payload.length > shownBytes;
  return {
    id,
    at: new Date(at).toISOString(),
    source,
    reason,
    detail,
    ...(module !== undefined && { module }),
    path,
    ...(contentType !== undefined && { contentType }),
    ...(fields && { fields }),
    bytes: payload.length,
    ...showPayload(isCut ? payload.subarray(0, shownBytes) : payload, isCut),
    ...(isCut && { cut: true as const }),
  };
}

function showPayload(bytes: Uint8Array, isCut: boolean): { payload: string } | { payloadBase64: string } {
  try {
    // A cut may go through a character: `stream` leaves the rest of it out.
    const decoded = new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: isCut });
    if (!/\p{Cc}/u.test(decoded.replaceAll(/[\n\r\t]/g, ''))) return { payload: decoded };
  } catch {
    // Not text: shown as bytes.
  }
  return { payloadBase64: Buffer.from(bytes).toString('base64') };
}
