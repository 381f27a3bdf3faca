import { describe, expect, it } from 'vitest';
import { createBuiltinProcedures } from '../../../board-agent/procedures/builtin.ts';
import { createDispatcher, type Dispatcher } from '../../../board-agent/procedures/dispatcher.ts';
import { createRegistry } from '../../../board-agent/procedures/registry.ts';
import { createSupportBundle } from '../../../board-agent/procedures/support-bundle.ts';
import type { Invocation } from '../../../board-agent/session/link.ts';
import type { BoardProcedure } from '../../../board-agent/sources/source.ts';
import { AppError } from '../../../common/runtime/app-error.ts';
import { ConfigError } from '../../../common/runtime/config.ts';
import type { Logger } from '../../../common/runtime/logger.ts';
import { contractLimits, parseContracts } from '../../../common/wamp/contract.ts';
import { checkSchema } from '../../../common/wamp/schema-check.ts';
import { createFakeClock, silent } from './fakes.ts';

const prefix = 'boardwalk.board.x.';
const clock = createFakeClock();

function procedure(name: string, run: BoardProcedure['run']): BoardProcedure {
  return { contract: { name, safety: 'idempotent' }, run };
}

const builtins = [
  ...createBuiltinProcedures({
    clock,
    contracts: () => [],
    agentInfo: () => ({ boardUuid: 'x', startedAt: clock.now() - 5000 }),
  }),
  createSupportBundle({
    clock,
    stateDir: '/tmp',
    settings: {},
    status: () => ({ pid: 1 }),
    contracts: () => [{ name: 'a', safety: 'idempotent' }],
  }),
];

function create(procedures: BoardProcedure[], logger: Logger = silent): Dispatcher {
  return createDispatcher({
    prefix,
    registry: createRegistry(procedures),
    reserved: { 'operation.settings': (kwargs) => ({ applied: kwargs }) },
    clock,
    logger,
  });
}

const call = (dispatcher: Dispatcher, name: string, more: Partial<Invocation> = {}) =>
  dispatcher.invoke({ uri: prefix + name, args: [], kwargs: {}, ...more });

describe('dispatcher', () => {
  it('refuses what the contract does not allow before the procedure sees it', async () => {
    let ran = 0;
    const strict: BoardProcedure = {
      contract: {
        name: 'set',
        kwargs: { type: 'object', properties: { v: { type: 'number' } }, required: ['v'] },
        safety: 'idempotent',
      },
      run: () => {
        ran += 1;
      },
    };
    const dispatcher = create([strict, procedure('plain', () => 1)]);
    await expect(call(dispatcher, 'set', { kwargs: { v: 'x' } })).rejects.toMatchObject({
      code: 'invalid-arguments',
      details: { errors: [{ pointer: '/v', message: 'must be number' }] },
    });
    await expect(call(dispatcher, 'set')).rejects.toMatchObject({ code: 'invalid-arguments' });
    await expect(call(dispatcher, 'plain', { args: [1] })).rejects.toMatchObject({
      code: 'invalid-arguments',
    });
    await expect(call(dispatcher, 'plain', { kwargs: { a: 1 } })).rejects.toMatchObject({
      code: 'invalid-arguments',
    });
    expect(ran).toBe(0);
    expect(await call(dispatcher, 'set', { kwargs: { v: 1 } })).toBeNull();
  });

  it('keeps the code of an AppError and calls everything else a failed procedure', async () => {
    const dispatcher = create([
      procedure('busy', () => {
        throw new AppError('unavailable', 'later');
      }),
      procedure('broken', () => {
        throw new TypeError('x is undefined');
      }),
    ]);
    await expect(call(dispatcher, 'busy')).rejects.toMatchObject({ code: 'unavailable', message: 'later' });
    await expect(call(dispatcher, 'broken')).rejects.toMatchObject({
      code: 'procedure-failed',
      message: 'x is undefined',
    });
    await expect(call(dispatcher, 'missing')).rejects.toMatchObject({ code: 'procedure-not-found' });
    await expect(call(dispatcher, 'constructor')).rejects.toMatchObject({ code: 'procedure-not-found' });
  });

  it('runs sixteen calls at a time and refuses the next', async () => {
    const gate = Promise.withResolvers<void>();
    const dispatcher = create([procedure('slow', () => gate.promise)]);
    const running = Array.from({ length: 16 }, () => call(dispatcher, 'slow'));
    await expect(call(dispatcher, 'slow')).rejects.toMatchObject({ code: 'too-many-calls' });
    gate.resolve();
    await Promise.all(running);
    await call(dispatcher, 'slow');
  });

  it('keeps reserved names for the server', async () => {
    const dispatcher = create([]);
    const kwargs = { batchIntervalMs: 1000 };
    for (const callerRole of ['service', 'board', undefined]) {
      const caller = callerRole === undefined ? {} : { callerRole };
      await expect(call(dispatcher, 'operation.settings', { kwargs, ...caller })).rejects.toMatchObject({
        code: 'not-authorized',
      });
    }
    expect(await call(dispatcher, 'operation.settings', { kwargs, callerRole: 'agent' })).toEqual({
      applied: kwargs,
    });
    await expect(call(dispatcher, 'operation.toString', { callerRole: 'agent' })).rejects.toMatchObject({
      code: 'procedure-not-found',
    });
  });

  it('logs each call with the trace that it came with', async () => {
    const lines: object[] = [];
    const logger = { ...silent, info: (fields: object) => void lines.push(fields) };
    const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    await call(create([procedure('a', () => 1)], logger), 'a', { trace, callerAuthid: 'someone' });
    expect(lines).toEqual([expect.objectContaining({ procedure: 'a', trace, caller: 'someone' })]);
  });

  it('refuses two procedures of one name', () => {
    expect(() => create([procedure('a', () => 1), procedure('a', () => 2)])).toThrow(ConfigError);
  });

  it('answers within its own contracts', async () => {
    expect(
      parseContracts(
        builtins.map((each) => each.contract),
        'p',
      ),
    ).toHaveLength(5);
    expect(builtins.length).toBeLessThan(contractLimits.procedures);
    const dispatcher = create(builtins);
    for (const { contract } of builtins) {
      const result = await call(dispatcher, contract.name);
      expect({ name: contract.name, faults: checkSchema(contract.result ?? {}, result) }).toEqual({
        name: contract.name,
        faults: [],
      });
    }
    expect(await call(dispatcher, 'ping')).toEqual({ at: clock.now(), uptimeSeconds: 5 });
  });
});
