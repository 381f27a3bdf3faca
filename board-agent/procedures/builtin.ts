/** The procedures that every board has. */
import type { ProcedureContract } from '../../common/wamp/contract.ts';
import type { Clock } from '../clock.ts';
import { readHostInfo } from '../host/facts.ts';
import type { BoardProcedure } from '../sources/source.ts';
import { agentVersion } from '../version.ts';

export interface BuiltinContext {
  clock: Clock;
  /** Contracts of all procedures, these included. */
  contracts(): ProcedureContract[];
  /** What the agent says of itself in `info`. */
  agentInfo(): { boardUuid: string; startedAt: number };
}

const text = { type: 'string' };
const number = { type: 'number' };
const noKwargs = { type: 'object', properties: {}, additionalProperties: false };

export function createBuiltinProcedures(context: BuiltinContext): BoardProcedure[] {
  const { clock } = context;
  const uptimeSeconds = () => Math.floor((clock.now() - context.agentInfo().startedAt) / 1000);

  return [
    {
      contract: {
        name: 'ping',
        description: 'Answers at once: the board and its agent are alive.',
        kwargs: noKwargs,
        result: {
          type: 'object',
          properties: { at: { ...number, description: 'epoch milliseconds' }, uptimeSeconds: number },
          required: ['at', 'uptimeSeconds'],
        },
        safety: 'idempotent',
      },
      run: () => ({ at: clock.now(), uptimeSeconds: uptimeSeconds() }),
    },
    {
      contract: {
        name: 'echo',
        description: 'Gives back what it got.',
        kwargs: { type: 'object', properties: { message: {} } },
        result: { type: 'object' },
        safety: 'idempotent',
      },
      run: (kwargs) => kwargs,
    },
    {
      contract: {
        name: 'info',
        description: 'Facts about the host: OS, CPU, memory, disks, interfaces, agent version.',
        kwargs: noKwargs,
        result: infoResult,
        safety: 'idempotent',
      },
      run: () => ({
        ...readHostInfo(),
        agent: {
          version: agentVersion,
          node: process.versions.node,
          boardUuid: context.agentInfo().boardUuid,
          uptimeSeconds: uptimeSeconds(),
          residentBytes: process.memoryUsage.rss(),
        },
      }),
    },
    {
      contract: {
        name: 'procedures',
        description: 'The contracts of all procedures of this board.',
        kwargs: noKwargs,
        result: {
          type: 'object',
          properties: { procedures: { type: 'array', items: { type: 'object' } } },
          required: ['procedures'],
        },
        safety: 'idempotent',
      },
      run: () => ({ procedures: context.contracts() }),
    },
  ];
}

const textOrNull = { type: ['string', 'null'] };
const numberOrNull = { type: ['number', 'null'] };

const infoResult = {
  type: 'object',
  properties: {
    hostname: text,
    os: textOrNull,
    kernel: text,
    architecture: text,
    cpu: { type: 'object', properties: { model: textOrNull, count: number, load1: numberOrNull } },
    memory: {
      type: ['object', 'null'],
      properties: { totalBytes: number, availableBytes: number },
    },
    disks: {
      type: 'array',
      items: {
        type: 'object',
        properties: { mount: text, totalBytes: number, availableBytes: number, usedPercent: number },
      },
    },
    interfaces: {
      type: 'array',
      items: {
        type: 'object',
        properties: { name: text, mac: textOrNull, addresses: { type: 'array', items: text } },
      },
    },
    temperatureCelsius: numberOrNull,
    uptimeSeconds: number,
    agent: {
      type: 'object',
      properties: {
        version: text,
        node: text,
        boardUuid: text,
        uptimeSeconds: number,
        residentBytes: number,
      },
    },
  },
  required: ['hostname', 'kernel', 'architecture', 'cpu', 'memory', 'disks', 'interfaces', 'agent'],
};
