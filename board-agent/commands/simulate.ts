/** `boardwalk-agent simulate`: devices or boards that send at a rate; sent, acknowledged and stored are to be equal. */
import { readFileSync } from 'node:fs';
import { AppError } from '../../common/runtime/app-error.ts';
import { createApi } from '../simulate/api.ts';
import { createGatewayLoad } from '../simulate/behind-gateway.ts';
import type { Load } from '../simulate/load.ts';
import { formatResult, type RunResult, runLoad } from '../simulate/run.ts';

export interface SimulateFlags {
  over: string;
  boards: number;
  rate: number;
  for: number;
  api: string;
  keyFile: string;
  tenant?: string;
  url?: string[];
  realm: string;
  keep?: true;
  board?: string;
  prefix: string;
  broker?: string;
  topic: string;
  username?: string;
  passwordFile?: string;
  target?: string;
  patience: number;
  json?: true;
}

/** Whether sent, acknowledged and stored are equal. Rejects with AppError when it cannot begin. */
export async function simulate(
  flags: SimulateFlags,
  { say, progress }: { say: (line: string) => void; progress: (line: string) => void },
): Promise<boolean> {
  const stop = new AbortController();
  // A second Ctrl-C has the usual effect.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  const load = await createLoad(flags, stop.signal, progress);
  let result: RunResult;
  try {
    const { rate, patience } = flags;
    const forMs = flags.for;
    result = await runLoad(load, { rate, forMs, patienceMs: patience * 1000, signal: stop.signal, progress });
  } finally {
    await load.close();
  }
  say(flags.json ? JSON.stringify(result) : formatResult(result));
  return result.equal;
}

async function createLoad(
  flags: SimulateFlags,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<Load> {
  const api = createApi(flags.api, readSecret(flags.keyFile));
  const { boards, tenant, prefix, realm } = flags;
  if (flags.over === 'wamp') {
    const { createWampLoad } = await import('../simulate/wamp.ts');
    const urls = need(flags.url, '--url <router> is needed over wamp');
    const keep = flags.keep === true;
    return createWampLoad({
      api,
      urls,
      realm,
      boards,
      keep,
      signal,
      say,
      ...(tenant !== undefined && { tenant }),
    });
  }
  const board = need(flags.board, '--board <the gateway> is needed over mqtt and coap');
  const options = { api, board, devices: boards, prefix, signal, say };
  if (flags.over === 'coap') {
    const { connectCoap } = await import('../simulate/coap.ts');
    const target = parseTarget(need(flags.target, '--target coap://host/path is needed over coap'));
    return createGatewayLoad(options, (devices) => connectCoap(devices, target));
  }
  const { connectMqtt } = await import('../simulate/mqtt.ts');
  const { topic, username, passwordFile } = flags;
  if (!topic.includes('{device}'))
    throw new AppError('invalid-arguments', '--topic must have {device} in it');
  const broker = {
    url: need(flags.broker, '--broker <url> is needed over mqtt'),
    topic,
    ...(username !== undefined && { username }),
    ...(passwordFile !== undefined && { password: readSecret(passwordFile) }),
  };
  return createGatewayLoad(options, (devices) => connectMqtt(devices, broker));
}

function need<T>(value: T | undefined, message: string): T {
  if (value === undefined) throw new AppError('invalid-arguments', message);
  return value;
}

function readSecret(path: string): string {
  const text = readFileSync(path, 'utf8').trim();
  if (text === '') throw new AppError('invalid-arguments', `${path} is empty`);
  return text;
}

function parseTarget(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'coap:' && url.hostname !== '') return url;
  throw new AppError('invalid-arguments', `not a CoAP URL: ${text}`);
}

/** `500ms`, `30s`, `5m` or `1h` in milliseconds. */
export function parseDuration(text: string): number {
  const [, number, unit = 's'] = /^(\d{1,7}(?:\.\d{1,3})?)(ms|s|m|h)?$/.exec(text) ?? [];
  const ms = Number(number) * { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[unit as 'ms' | 's' | 'm' | 'h'];
  if (!(ms > 0 && ms <= 7 * 86_400_000))
    throw new AppError('invalid-arguments', `a time is like 30s, 5m or 1h, at most 168h; not '${text}'`);
  return ms;
}
