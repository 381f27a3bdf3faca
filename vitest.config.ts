import { defineConfig } from 'vitest/config';

/** The groups run one after the other, the quick ones first. */
const groups = [
  { name: 'unit', timeoutMs: 5_000, workers: 2, setup: [] },
  { name: 'contract', timeoutMs: 60_000, workers: 2, setup: ['test/harness/global-database.ts'] },
  { name: 'integration', timeoutMs: 60_000, workers: 2, setup: ['test/harness/global-database.ts'] },
  // Whole stacks share two cores: one at a time.
  { name: 'e2e', timeoutMs: 120_000, workers: 1, setup: [] },
] as const;

export default defineConfig({
  test: {
    projects: groups.map(({ name, timeoutMs, workers, setup }, groupOrder) => ({
      test: {
        name,
        include: [`test/${name}/**/*.test.ts`],
        pool: 'forks',
        maxWorkers: workers,
        sequence: { groupOrder },
        testTimeout: timeoutMs,
        hookTimeout: Math.max(timeoutMs, 10_000),
        teardownTimeout: 30_000,
        globalSetup: ['test/harness/global-leaks.ts', ...setup],
        setupFiles: ['test/harness/check-leaks.ts'],
      },
    })),
  },
});
