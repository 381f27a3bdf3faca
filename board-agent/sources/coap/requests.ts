/** What is done with a request: the two resources that are read, and all others, where messages are posted. */
import { compileRules } from '../../intake/rules.ts';
import type { IntakeDoor, RawMessage, RuleSettings } from '../../intake/types.ts';
import { findAddress, findUnknownOption, type ResourceAddress } from './address.ts';
import { responseOf } from './answers.ts';
import { inBlocks, type Uploads } from './blocks.ts';
import { contentFormats, mediaTypeOf } from './content-formats.ts';
import type { CoapRequest, CoapResponse } from './exchanges.ts';
import { parseFilters, writeLinks } from './links.ts';
import { findUint, uintValue } from './packet.ts';
import { listPath, listResources, timePath } from './resources.ts';
import type { TimeResource } from './time-resource.ts';

export interface RequestsOptions {
  rules: readonly RuleSettings[];
  door: Pick<IntakeDoor, 'take'>;
  uploads: Uploads;
  time: Pick<TimeResource, 'get'>;
  proxyNames: readonly string[];
  maxPayloadBytes: number;
}

const get = '0.01';
/** POST and PUT: a device's message is the same in both. */
const takes = ['0.02', '0.03'];
const fieldNames = ['device', 'seq', 'mac'];

export function createRequestHandler(
  options: RequestsOptions,
): (request: CoapRequest) => CoapResponse | Promise<CoapResponse> {
  const { door, uploads, time, proxyNames, maxPayloadBytes } = options;
  const resources = listResources(options.rules);
  const findRule = compileRules(options.rules);

  function read(request: CoapRequest, { path, queries }: ResourceAddress): CoapResponse {
    if (path === timePath) return time.get(request);
    const accepted = findUint(request, 'Accept');
    if (accepted !== undefined && accepted !== contentFormats.links) return { code: '4.06' };
    return inBlocks(request, {
      code: '2.05',
      options: [{ name: 'Content-Format', value: uintValue(contentFormats.links) }],
      payload: Buffer.from(writeLinks(resources, parseFilters(queries))),
    });
  }

  async function take(request: CoapRequest, { path, queries }: ResourceAddress): Promise<CoapResponse> {
    const assembled = uploads.take(request, `${path}?${queries.join('&')}`);
    if ('response' in assembled) return assembled.response;
    const message: RawMessage = { path, payload: assembled.payload, transmission: request.transmission };
    const contentType = mediaTypeOf(findUint(request, 'Content-Format'));
    if (contentType !== undefined) message.contentType = contentType;
    if (queries.length > 0) message.fields = fieldsOf(queries);
    const outcome = await door.take(message);
    const response = responseOf(outcome, maxPayloadBytes);
    if (assembled.options.length === 0) return response;
    return { ...response, options: [...(response.options ?? []), ...assembled.options] };
  }

  return (request) => {
    const unknown = findUnknownOption(request);
    if (unknown !== undefined) return { code: '4.02', payload: Buffer.from(`option ${unknown}`) };
    const address = findAddress(request, proxyNames);
    if (!address) return { code: '5.05' };
    const isOurs = address.path === listPath || address.path === timePath;
    if (isOurs) return request.code === get ? read(request, address) : { code: '4.05' };
    if (takes.includes(request.code)) return take(request, address);
    return { code: findRule(address.path) ? '4.05' : '4.04' };
  };
}

function fieldsOf(queries: readonly string[]): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const query of queries) {
    const at = query.indexOf('=');
    const name = query.slice(0, Math.max(0, at));
    if (fieldNames.includes(name)) fields[name] ??= query.slice(at + 1);
  }
  return fields;
}
