/* The types as a module sees them; compiled, never run. */

import { Balance, LeakError, check, expectCollected, leakTest, type LeakTestOptions, type Verdict } from 'plimsoll';
import { expect } from 'plimsoll/mocha';

class Session {}

const options: LeakTestOptions = { iterations: 100, limit: '16 B', kinds: [Session, 'Session'], isolate: 'child', strict: true };
const verdict: Verdict = await leakTest(() => new Session(), options);
const outcome: 'leak' | 'no leak' | 'inconclusive' = verdict.verdict;
await check({ module: new URL('./operation.mjs', import.meta.url), export: 'run' });
await expect(async (iteration: number) => iteration).not.toLeak({ limit: 64 });
await expectCollected(async () => new Session());
const error: Error = new LeakError(verdict);
// @ts-expect-error: there is no such option.
await leakTest(() => undefined, { iteration: 1 });
// @ts-expect-error: a result is read only.
verdict.verdict = outcome;
export const all = [error, new Balance({ settleMs: 10 })];

import { BoundedCache, ObjectPool, WeakValueMap, lazy, sizeOf } from 'plimsoll';

const cache = new BoundedCache<string>({ policy: 'lfu', ttlMs: 1000, sizeOf: (text) => text.length });
const text: string | undefined = cache.set('a', 'b', 'c') ? cache.get('a', 'b') : undefined;
const pool = new ObjectPool(() => new Map<string, number>(), { reset: (map) => map.clear() });
export const more = [text, pool.acquire().size, lazy(() => 5).get(), new WeakValueMap<string, Session>().get('a'), sizeOf(cache).bytes];

import { MemoryMonitor, type Alert, type MonitorReport } from 'plimsoll';
import Monitor from 'plimsoll/memory-monitor';

const monitor = new Monitor({ perSession: 10 * 1024 * 1024, totalSystem: '150 MB', alertThreshold: 80, actions: { collect: true } }, 60000);
monitor.on('alert:warning', (alert: Alert) => alert.message);
const fits: boolean = monitor.start().charge('a', 5, 'cache');
const report: MonitorReport | null = monitor.stop();
// @ts-expect-error: there is no such option.
new MemoryMonitor({ perSesion: 5 });
export const monitored = [fits, report, monitor.metrics().growth.judged?.low, monitor instanceof MemoryMonitor];

import { MemoryProfiler, type Comparison, type OperationProfile } from 'plimsoll';

const profiler = new MemoryProfiler({ outputDir: 'profiles', samplingBytes: 0 });
await profiler.startProfiling();
const profiled: OperationProfile<number> = await profiler.profileDuringOperation(async () => 5, 'label');
const compared: Comparison | null = (await profiler.stopProfiling()).comparison;
export const profiles = [profiled.value.toFixed(), compared?.classes[0]?.name];
