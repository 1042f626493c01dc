/** `plimsoll/jest`: importing it (or naming it in `setupFilesAfterEnv`) adds `expect(fn).not.toLeak()`. */

import { toLeak } from './expect';
import type { LeakTestOptions } from './leak-test';

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace
  namespace jest {
    // eslint-disable-next-line @typescript-eslint/no-unused-vars
    interface Matchers<R> {
      /** Repeats the operation and fails, with `.not`, if a leak is proven. */
      toLeak(options?: LeakTestOptions): Promise<void>;
    }
  }
}

interface Extensible {
  extend(matchers: { toLeak: typeof toLeak }): void;
}

const globalExpect = (globalThis as unknown as { expect?: Extensible }).expect;
if (globalExpect === undefined) throw new Error('plimsoll/jest is for tests that jest runs: there is no global `expect`');
globalExpect.extend({ toLeak });

export * from './index';
