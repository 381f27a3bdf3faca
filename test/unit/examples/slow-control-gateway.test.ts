import { expect, it } from 'vitest';
import { parseSettings } from '../../../board-agent/settings.ts';
import settings from '../../../examples/slow-control/gateway.json' with { type: 'json' };

it("the slow-control gateway's settings are right", () => {
  const { sources } = parseSettings(settings);
  expect(sources.map(({ kind }) => kind)).toEqual(['system', 'mqtt']);
});
