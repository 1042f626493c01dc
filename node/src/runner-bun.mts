/** `plimsoll/bun`: importing it adds `expect(fn).not.toLeak()` to the tests that Bun runs. */

import { expect } from 'bun:test';

import expecting from './expect.js';
import type { LeakTestOptions } from './leak-test.js';

declare module 'bun:test' {
  // eslint-disable-next-line @typescript-eslint/no-unused-vars
  interface Matchers<T> {
    /** Repeats the operation and fails, with `.not`, if a leak is proven. */
    toLeak(options?: LeakTestOptions): Promise<void>;
  }
}

expect.extend({ toLeak: expecting.toLeak });

export * from './index.js';
