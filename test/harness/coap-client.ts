/** libcoap's own client: the CoAP that other people's devices speak. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runProgram } from './run-program.ts';
import { testPart } from './tools.ts';

export interface CoapAnswer {
  /** As libcoap writes it: `2.04`, `4.01`, …; undefined when nothing was answered in time. */
  code: string | undefined;
  payload: string;
  /** All that it logged: every message with its type, id, token and options. */
  log: string;
}

export interface CoapClientOptions {
  /** With coap-client-openssl, e.g. for `-k key -u identity`. */
  secure?: boolean;
  /** The request's body, read from stdin. */
  payload?: string | Uint8Array;
  /** Seconds that it waits for an answer (`-B`), default 5. */
  waitSeconds?: number;
}

/**
 * Runs the client with its own arguments, e.g. `['-m', 'post', '-t', 'json', 'coap://[::1]:5683/r']`.
 * `-v 7`, the waiting time, a file for the answer's payload and, with a payload, `-f -` are added.
 */
export async function runCoapClient(
  args: readonly string[],
  options: CoapClientOptions = {},
): Promise<CoapAnswer> {
  const { secure = false, payload, waitSeconds = 5 } = options;
  const { client, secureClient, env } = await testPart('coap');
  const dir = await mkdtemp(join(tmpdir(), 'boardwalk-coap-'));
  // On stdout it would stand among the log's lines.
  const into = join(dir, 'payload');
  const given = payload === undefined ? [] : ['-f', '-'];
  try {
    const { stdout, stderr } = await runProgram(
      secure ? secureClient : client,
      ['-v', '7', '-B', String(waitSeconds), '-o', into, ...given, ...args],
      { env, timeoutMs: (waitSeconds + 10) * 1_000, ...(payload === undefined ? {} : { input: payload }) },
    );
    const log = stdout + stderr;
    // A received message: `v:1 t:ACK c:2.04 i:41d8 {01} [ ] :: '…'`; requests have names for codes.
    const codes = [...log.matchAll(/^v:1 t:\w+ c:([2-5]\.\d\d) /gm)];
    return { code: codes.at(-1)?.[1], payload: await readFile(into, 'utf8').catch(() => ''), log };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
