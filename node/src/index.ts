/** Plimsoll for Node: leak tests with a verdict. */

export { Balance, BalanceError, balanced, type BalanceOptions, type Surplus } from './balance';
export { findBinary } from './binary';
export {
  BoundedCache,
  cacheKey,
  type BoundedCacheOptions,
  type CacheStatistics,
  type Eviction,
  type EvictionPolicy,
  type EvictionReason,
} from './cache';
export { RetainedError, expectCollected, type Collected } from './collected';
export type { Kind } from './counters';
export { BinaryError, RuntimeError, SnapshotError, UnsettledError, type BinaryErrorCode } from './errors';
export type { Subject } from './isolate';
export { WeakValueMap, lazy, type Lazy } from './lazy';
export { LeakError, check, leakTest, type LeakTestOptions } from './leak-test';
export {
  MemoryMonitor,
  type ActionName,
  type ActionTaken,
  type Alert,
  type AlertType,
  type Collections,
  type GrowthStatus,
  type JudgedGrowth,
  type Method,
  type MonitorActions,
  type MonitorOptions,
  type MonitorReport,
  type MonitorSample,
  type SessionOptions,
  type SessionStatus,
  type Severity,
} from './monitor';
export { ObjectPool, type ObjectPoolOptions, type PoolStatistics } from './object-pool';
export {
  MemoryProfiler,
  type Allocator,
  type ClassChange,
  type Comparison,
  type OperationProfile,
  type Profile,
  type ProfilerOptions,
} from './profiler';
export type { Operation } from './rounds';
export { sizeOf, type SizeEstimate } from './size-of';
export { SuiteError, suite, type SuiteCheck, type SuiteName, type SuiteOptions, type SuiteReport } from './suite';
export { describe, type Culprit, type Rate, type Verdict } from './verdict';
