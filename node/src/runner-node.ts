/** `plimsoll/node`: leak tests in node:test. Where Node lets assertions be registered, `t.assert.noLeak(fn)` is one. */

import { leakTest } from './leak-test';

interface WithAssert {
  assert?: { register?: (name: string, assertion: unknown) => void };
}

try {
  // `node:test` cannot be loaded without its prefix, nor before Node 18.
  (require('node:test') as WithAssert).assert?.register?.('noLeak', leakTest);
} catch {
  // The functions below do without.
}

export { expect } from './expect';
export * from './index';
