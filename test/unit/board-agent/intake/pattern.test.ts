import { describe, expect, it } from 'vitest';
import { compilePattern, type Pattern } from '../../../../board-agent/intake/pattern.ts';

function compile(text: string): Pattern {
  const pattern = compilePattern(text);
  if ('fault' in pattern) throw new Error(pattern.fault);
  return pattern;
}

const match = (pattern: string, path: string) => compile(pattern).match(path);

describe('patterns of rules', () => {
  it.each([
    ['/{module}/status', '/hv/status', { module: 'hv' }],
    ['/{module}/status', 'hv/status', { module: 'hv' }],
    ['{module}/status', '/hv/status', { module: 'hv' }],
    ['r', '/r', {}],
    ['/r', 'r', {}],
    ['sensors/{module}-{measurement}', 'sensors/n1-temp', { module: 'n1', measurement: 'temp' }],
    ['sensors/{module}-{measurement}', 'sensors/n1-temp-2', { module: 'n1', measurement: 'temp-2' }],
    ['gw_{gateway}.json', 'gw_7.json', { gateway: '7' }],
    ['gw_{gateway}.json', 'gw_.json.json', { gateway: '.json' }],
    ['+/{module}/#', 'a/b', { module: 'b' }],
    ['+/{module}/#', 'a/b/c/d', { module: 'b' }],
    ['+/x', '/x', undefined],
    ['+/x', '//x', {}],
    ['#', 'anything/at/all', {}],
    ['#', '', {}],
    ['a.c', 'abc', undefined],
    ['{module}/status', 'hv/status/', undefined],
    ['{module}/status', '//status', undefined],
    ['{module}/status', 'hv/Status', undefined],
    ['sensors/{module}-{measurement}', 'sensors/-temp', undefined],
    ['sensors/{module}-{measurement}', 'sensors/n1-', undefined],
    ['x{a}x', 'xx', undefined],
    ['(.*)+/[a]', '(.*)+/[a]', 'fault'],
    ['(.*)/[a]', '(.*)/[a]', {}],
  ])('%s with %s', (pattern, path, captures) => {
    if (captures === 'fault') expect(compilePattern(pattern)).toHaveProperty('fault');
    else expect(match(pattern, path)).toEqual(captures);
  });

  it.each([
    ['', 'must not be empty'],
    ['/', 'must not be empty'],
    ['a/#/b', 'segments of their own'],
    ['a/b#', 'segments of their own'],
    ['a/b+', 'segments of their own'],
    ['{module', 'captures like {module}'],
    ['{}', 'captures like {module}'],
    ['{Module}', 'captures like {module}'],
    ['{__proto__}', 'captures like {module}'],
    ['a}', 'segments of their own'],
    ['{a}{b}', 'a text between captures'],
    ['{a}/{a}', '{a} twice'],
    [`a${'/b'.repeat(200)}`, 'at most 300 characters'],
  ])('refuses %s', (text, fault) => {
    expect(compilePattern(text)).toEqual({ fault: expect.stringContaining(fault) });
  });

  it('takes time in proportion to the path, whatever the path is', () => {
    const pattern = compile('{a}-{b}-{c}-{d}-{e}-{f}x');
    const startedMs = performance.now();
    for (let round = 0; round < 1000; round += 1) expect(pattern.match('-'.repeat(999))).toBeUndefined();
    expect(performance.now() - startedMs).toBeLessThan(2000);
    expect(compile('#').match('a'.repeat(1001))).toBeUndefined();
  });
});
