/** `plimsoll/vitest`: importing it (or naming it in `setupFiles`) adds `expect(fn).not.toLeak()`. */

import { expect } from 'vitest';

import expecting from './expect.js';
import type { LeakTestOptions } from './leak-test.js';

declare module 'vitest' {
  // eslint-disable-next-line @typescript-eslint/no-unused-vars
  interface Assertion<T> {
    /** Repeats the operation and fails, with `.not`, if a leak is proven. */
    toLeak(options?: LeakTestOptions): Promise<void>;
  }
}

expect.extend({ toLeak: expecting.toLeak });

export * from './index.js';
