import { expect, it } from 'vitest';
import { parseJsonText } from '../../../common/wamp/json-text.ts';

it.each([
  ['[1,{"a":"b"}]', [1, { a: 'b' }]],
  ['[NaN,Infinity,-Infinity]', [null, null, null]],
  ['{"NaN":NaN,"a":"-Infinity \\"NaN\\\\","b":[-Infinity]}', { NaN: null, a: '-Infinity "NaN\\', b: [null] }],
  ['["\\\\",NaN]', ['\\', null]],
])('%s is read', (text, value) => {
  expect(parseJsonText(text)).toEqual(value);
});

it.each(['[NaN', '["NaN]', 'Infinity]', '[1e]', '[-NaN]'])('%s is refused', (text) => {
  expect(() => parseJsonText(text)).toThrow(SyntaxError);
});
