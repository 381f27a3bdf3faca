/**
 * Bodies that are larger than a datagram should be (RFC 7959): uploads are put together, in order,
 * and long answers given in parts. What is put together is bounded in size, number and time.
 */
import type { Clock } from '../../clock.ts';
import type { CoapRequest, CoapResponse } from './exchanges.ts';
import { type CoapOption, findUint, hasOption, type Message, uintValue } from './packet.ts';

export const blockLimits = { uploads: 64, idleMs: 60_000, largestSzx: 6 } as const;

interface Block {
  num: number;
  more: boolean;
  /** The size is 2^(szx + 4). */
  szx: number;
}

interface Upload {
  parts: Buffer[];
  bytes: number;
  touchedMs: number;
}

export type Assembled =
  /** All of it is here. The options belong into the answer. */
  { payload: Buffer; options: CoapOption[] } | { response: CoapResponse };

export interface Uploads {
  /** `resource` is what the upload is for: parts of different ones are not mixed. */
  take(request: CoapRequest, resource: string): Assembled;
}

const sizeOf = ({ szx }: Block) => 2 ** (szx + 4);

/** undefined = the option is not there. Throws for one that the RFC does not allow. */
function findBlock(message: Message, name: 'Block1' | 'Block2'): Block | undefined {
  if (!hasOption(message, name)) return undefined;
  const value = findUint(message, name);
  if (value === undefined || value > 0xffffff || (value & 7) === 7) return { num: -1, more: false, szx: 0 };
  return { num: value >> 4, more: (value & 8) !== 0, szx: value & 7 };
}

const toOption = (name: string, { num, more, szx }: Block): CoapOption => ({
  name,
  value: uintValue(num * 16 + (more ? 8 : 0) + szx),
});

export function createUploads({ clock, maxBytes }: { clock: Clock; maxBytes: number }): Uploads {
  const uploads = new Map<string, Upload>();

  function forget(now: number): void {
    for (const [key, { touchedMs }] of uploads)
      if (now - touchedMs >= blockLimits.idleMs) uploads.delete(key);
  }

  function begin(key: string, now: number): Upload | undefined {
    uploads.delete(key);
    forget(now);
    if (uploads.size >= blockLimits.uploads) return undefined;
    const upload = { parts: [], bytes: 0, touchedMs: now };
    uploads.set(key, upload);
    return upload;
  }

  const tooLarge = (): Assembled => ({ response: tooLargeResponse(maxBytes) });

  return {
    take(request, resource) {
      const { payload } = request;
      const block = findBlock(request, 'Block1');
      if (!block) return payload.length > maxBytes ? tooLarge() : { payload, options: [] };
      if (block.num < 0) return { response: { code: '4.00' } };
      const tag = request.options.find(({ name }) => name === '292')?.value.toString('hex') ?? '';
      const key = `${request.peer.key} ${request.code} ${tag} ${resource}`;
      const now = clock.monotonicMs();
      const offset = block.num * sizeOf(block);
      if (offset + payload.length > maxBytes || (findUint(request, 'Size1') ?? 0) > maxBytes) {
        uploads.delete(key);
        return tooLarge();
      }
      if (block.num === 0 && !block.more) return { payload, options: [toOption('Block1', block)] };
      const upload = block.num === 0 ? begin(key, now) : uploads.get(key);
      if (!upload) return { response: block.num === 0 ? busyResponse : { code: '4.08' } };
      const isWhole = !block.more || payload.length === sizeOf(block);
      if (offset !== upload.bytes || !isWhole) {
        uploads.delete(key);
        return { response: { code: '4.08' } };
      }
      upload.parts.push(Buffer.from(payload));
      upload.bytes += payload.length;
      upload.touchedMs = now;
      const options = [toOption('Block1', block)];
      if (block.more) return { response: { code: '2.31', options } };
      uploads.delete(key);
      return { payload: Buffer.concat(upload.parts), options };
    },
  };
}

const busyResponse: CoapResponse = { code: '5.03', options: [{ name: 'Max-Age', value: uintValue(5) }] };

export const tooLargeResponse = (maxBytes: number): CoapResponse => ({
  code: '4.13',
  options: [{ name: 'Size1', value: uintValue(maxBytes) }],
});

/** The part of the answer that was asked for; all of it where it fits into one. */
export function inBlocks(request: Message, response: CoapResponse): CoapResponse {
  const { payload = Buffer.alloc(0), options = [] } = response;
  const asked = findBlock(request, 'Block2');
  const block = asked ?? { num: 0, more: false, szx: blockLimits.largestSzx };
  if (block.num < 0) return { code: '4.00' };
  const from = block.num * sizeOf(block);
  const to = from + sizeOf(block);
  if (from > 0 && from >= payload.length) return { code: '4.02' };
  if (!asked && payload.length <= to) return response;
  const given = { ...block, more: to < payload.length };
  return {
    ...response,
    options: [...options, toOption('Block2', given)],
    payload: payload.subarray(from, to),
  };
}
