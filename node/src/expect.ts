/** `expect(fn).not.toLeak()`: one matcher for jest, vitest and Bun, and an `expect` of our own where a runner has none. */

import { check, leakTest, LeakError, type LeakTestOptions } from './leak-test';
import type { Subject } from './isolate';
import type { Operation } from './rounds';
import { describe, type Verdict } from './verdict';

/** What a matcher answers. */
export interface Matched {
  readonly pass: boolean;
  readonly message: () => string;
}

/** The matcher for `expect.extend({ toLeak })`. It passes on a proven leak only. */
export async function toLeak(received: Operation | Subject, options: LeakTestOptions = {}): Promise<Matched> {
  const verdict = await check(received, options);
  // With `strict`, what cannot be ruled out fails `.not.toLeak()`, which is the way it is used.
  const pass = verdict.verdict === 'leak' || (options.strict === true && verdict.verdict !== 'no leak');
  return { pass, message: () => describe(verdict) };
}

/** What can be said of an operation. Both give the verdict they stand on. */
export interface Expectation {
  /** Fails unless a leak is proven. */
  toLeak(options?: LeakTestOptions): Promise<Verdict>;
  readonly not: {
    /** Fails with a `LeakError` if a leak is proven. */
    toLeak(options?: LeakTestOptions): Promise<Verdict>;
  };
}

/** For node:test and mocha, whose assertions cannot be extended. */
export function expect(subject: Operation | Subject): Expectation {
  return {
    async toLeak(options) {
      const verdict = await check(subject, options);
      if (verdict.verdict !== 'leak') throw new LeakError(verdict);
      return verdict;
    },
    not: { toLeak: (options) => leakTest(subject, options) },
  };
}
