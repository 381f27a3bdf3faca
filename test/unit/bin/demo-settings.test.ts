import { expect, it } from 'vitest';
import settings from '../../../bin/stack/demo-settings.json' with { type: 'json' };
import { parseSettings } from '../../../board-agent/settings.ts';
import type { SimulatedSourceSettings } from '../../../board-agent/sources/simulated/settings.ts';

it("the demo gateway's settings are right, and show every type of reading", () => {
  const { sources } = parseSettings(settings);
  const types = sources
    .flatMap((source) => (source.kind === 'simulated' ? (source as SimulatedSourceSettings).streams : []))
    .map(({ type }) => type);
  expect(new Set(types)).toEqual(new Set(['number', 'boolean', 'text']));
  expect(sources.map(({ kind }) => kind)).toContain('system');
});
