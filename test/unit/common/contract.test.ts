import { describe, expect, it } from 'vitest';
import {
  contractLimits,
  hashContracts,
  parseContract,
  parseContracts,
  parseSchema,
} from '../../../common/wamp/contract.ts';
import { checkSchema } from '../../../common/wamp/schema-check.ts';

describe('procedure contracts', () => {
  it('accepts a plain contract and defaults to the most careful safety class', () => {
    const contract = parseContract(
      { name: 'hv.set_voltage', kwargs: { type: 'object', properties: { volts: { type: 'number' } } } },
      'c',
    );
    expect(contract).toEqual({
      name: 'hv.set_voltage',
      kwargs: { type: 'object', properties: { volts: { type: 'number' } } },
      safety: 'at-most-once',
    });
  });

  it.each([
    [{ type: 'string', pattern: '(a+)+$' }, 'c.pattern is not a known field'],
    [{ $ref: 'https://example.org/schema' }, 'c.$ref is not a known field'],
    [{ type: 'banana' }, 'c.type must be one of'],
    [{ minimum: 'low' }, 'c.minimum must be a number'],
    [{ multipleOf: 0 }, 'c.multipleOf must be a number'],
    [{ properties: { a: { format: 'email' } } }, 'c.properties.a.format is not a known field'],
  ])('refuses schema %j by the place of the fault', (schema, message) => {
    expect(() => parseSchema(schema, 'c')).toThrow(message);
  });

  it('bounds depth, nodes and bytes, because schemas come from boards', () => {
    let deep: object = { type: 'string' };
    for (let level = 0; level <= contractLimits.schemaDepth; level += 1) deep = { items: deep };
    expect(() => parseSchema(deep, 'c')).toThrow('too deep');
    const wide = {
      properties: Object.fromEntries(
        Array.from({ length: contractLimits.schemaNodes }, (_, index) => [`p${index}`, {}]),
      ),
    };
    expect(() => parseSchema(wide, 'c')).toThrow('too deep or too large');
    expect(() => parseSchema({ description: 'x'.repeat(contractLimits.schemaBytes) }, 'c')).toThrow('bytes');
  });

  it('refuses the same name twice', () => {
    expect(() => parseContracts([{ name: 'ping' }, { name: 'ping' }], 'procedures')).toThrow(
      'must not name a procedure twice',
    );
  });

  it('hashes independently of order and changes with content', () => {
    const [a, b] = parseContracts([{ name: 'a' }, { name: 'b' }], 'p');
    if (!a || !b) throw new Error('parser lost a contract');
    expect(hashContracts([a, b])).toBe(hashContracts([b, a]));
    expect(hashContracts([a, b])).not.toBe(hashContracts([a, { ...b, safety: 'idempotent' }]));
  });
});

describe('schema check', () => {
  const schema = {
    type: 'object',
    properties: {
      volts: { type: 'number', minimum: 0, maximum: 10, multipleOf: 0.1 },
      mode: { enum: ['on', 'off'] },
      'a/b': { type: 'string' },
    },
    required: ['volts'],
    additionalProperties: false,
  };

  it('finds nothing wrong with a fitting value', () => {
    expect(checkSchema(schema, { volts: 0.3, mode: 'on' })).toEqual([]);
  });

  it('lists each fault with a JSON pointer', () => {
    expect(checkSchema(schema, { volts: 11, mode: 'auto', extra: 1, 'a/b': 2 }, '/kwargs')).toEqual([
      { pointer: '/kwargs/volts', message: 'must be at most 10' },
      { pointer: '/kwargs/mode', message: 'must be one of ["on","off"]' },
      { pointer: '/kwargs/extra', message: 'is not a known field' },
      { pointer: '/kwargs/a~1b', message: 'must be string' },
    ]);
    expect(checkSchema(schema, {})).toEqual([{ pointer: '/volts', message: 'is required' }]);
  });

  it('is not fooled by members that every object inherits', () => {
    expect(checkSchema({ type: 'object', required: ['toString'] }, {})).toEqual([
      { pointer: '/toString', message: 'is required' },
    ]);
    expect(
      checkSchema(
        { type: 'object', properties: {}, additionalProperties: false },
        JSON.parse('{"__proto__": 1}'),
      ),
    ).toHaveLength(1);
  });

  it('checks items and alternatives', () => {
    const list = { type: 'array', items: { anyOf: [{ type: 'integer' }, { type: 'null' }] }, maxItems: 3 };
    expect(checkSchema(list, [1, null, 2])).toEqual([]);
    expect(checkSchema(list, [1.5, null, 2, 3])).toEqual([
      { pointer: '', message: 'must have at most 3 items' },
      { pointer: '/0', message: 'must match one of the allowed forms' },
    ]);
  });

  it('stops collecting after twenty faults', () => {
    expect(
      checkSchema(
        { items: { type: 'string' } },
        Array.from({ length: 100 }, () => 1),
      ),
    ).toHaveLength(20);
  });
});
