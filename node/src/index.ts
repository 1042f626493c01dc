/** Plimsoll for Node: leak tests with a verdict. */

export { Balance, BalanceError, balanced, type BalanceOptions, type Surplus } from './balance';
export { findBinary } from './binary';
export { RetainedError, expectCollected, type Collected } from './collected';
export type { Kind } from './counters';
export { BinaryError, RuntimeError, SnapshotError, UnsettledError, type BinaryErrorCode } from './errors';
export type { Subject } from './isolate';
export { LeakError, check, leakTest, type LeakTestOptions } from './leak-test';
export type { Operation } from './rounds';
export { describe, type Culprit, type Rate, type Verdict } from './verdict';
