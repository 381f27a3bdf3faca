/** What a sender is told. 2.04 means: on this board's disk, whatever becomes of it. */
import type { IntakeOutcome } from '../../intake/types.ts';
import { tooLargeResponse } from './blocks.ts';
import { contentFormats } from './content-formats.ts';
import type { CoapResponse } from './exchanges.ts';
import { type CoapOption, uintValue } from './packet.ts';

const jsonFormat: CoapOption = { name: 'Content-Format', value: uintValue(contentFormats.json) };
/** One for all: answers are remembered for repetitions. */
const ok: CoapResponse = { code: '2.04', options: [jsonFormat], payload: Buffer.from('{"status":"ok"}') };

export function responseOf(outcome: IntakeOutcome, maxBytes: number): CoapResponse {
  switch (outcome.status) {
    case 'stored':
    case 'duplicate':
    case 'held':
    case 'dead':
      return ok;
    case 'unavailable':
      return refusal('5.03', 'unavailable', outcome);
    case 'refused':
      if (outcome.reason === 'bad-mac') return refusal('4.01', outcome.reason, outcome);
      if (outcome.reason === 'too-fast') return refusal('4.29', outcome.reason, outcome);
      return tooLargeResponse(maxBytes);
  }
}

interface Refused {
  detail: string;
  retryAfterSeconds?: number;
}

/** With Max-Age where it may come again (RFC 7252, section 5.9.3.4; RFC 8516). */
function refusal(code: string, reason: string, { detail, retryAfterSeconds }: Refused): CoapResponse {
  const options = [jsonFormat];
  if (retryAfterSeconds !== undefined)
    options.push({ name: 'Max-Age', value: uintValue(Math.max(1, Math.ceil(retryAfterSeconds))) });
  return { code, options, payload: Buffer.from(JSON.stringify({ status: 'refused', reason, detail })) };
}
