import { createRequire } from 'node:module';
import { expect, test, vi } from 'vitest';
import * as plimsoll from 'plimsoll/vitest';

const require = createRequire(import.meta.url);
require('./cases.cjs').define({
  test,
  expect,
  plimsoll,
  operations: require('./operations.cjs'),
  sessions: require('./sessions.cjs'),
  fakeTimers: { on: () => vi.useFakeTimers(), off: () => vi.useRealTimers() },
});

test('mocks that live on are no leak below the floor', async () => {
  const mock = vi.fn();
  await expect(() => mock()).not.toLeak({ limit: '512 B' });
});

test('modules may be reset', async () => {
  vi.resetModules();
  const { leakTest } = await import('plimsoll');
  await leakTest(() => ({ a: 1 }));
});
