/**
 * What a monitor has between start and stop: timers, the observer of collections, and the record that it reports and has judged.
 */

import type * as PerfHooks from 'perf_hooks';
import * as timers from 'timers';

import { runtime, usedBytes } from './heap';
import type * as Judge from './judge';
import type { Collections, JudgedGrowth, MonitorOptions, MonitorReport } from './monitor';
import type { Alert, Reading } from './watch';

// Taken when this module is loaded: fake timers replace the globals.
const { setInterval, clearInterval, setTimeout, clearTimeout } = timers;
const epoch = Date.now;

const MIB = 1024 * 1024;
const MINUTE_MS = 60_000;
/** Alerts and samples that a report holds. */
const MOST_ALERTS = 200;
const MOST_SAMPLES = 2048;
/** Columns of the record, after the time since the epoch; NaN is not known. */
const [SECONDS, LIVE, HEAP_USED, HEAP_TOTAL, EXTERNAL, RSS, WIDTH] = [1, 2, 3, 4, 5, 6, 7];

/** What was read of the process; null is not known. @internal */
export interface Figures extends Reading {
  readonly heapUsed: number | null;
  readonly heapTotal: number | null;
  readonly heapLimit: number | null;
  readonly external: number | null;
  readonly rss: number | null;
}

/** One stretch of watching. @internal */
export class Run {
  private readonly startedAt = epoch();
  private readonly begunMs: number;
  private readonly interval: NodeJS.Timeout;
  private readonly ending: NodeJS.Timeout | null = null;
  private observer: PerfHooks.PerformanceObserver | null = null;
  // Rows of the record: preallocated, so that it is no growth of the process.
  private readonly table = new Float64Array(MOST_SAMPLES * WIDTH);
  private rows = 0;
  private merged = 1;
  private pending = 0;
  private readonly alerts: (Alert & { at: number })[] = [];
  private readonly counted = { count: 0, major: 0, ms: 0 };
  private lowestBytes = Infinity;
  // Judges that are being asked.
  private readonly asked = new Set<() => void>();

  constructor(intervalMs: number, durationMs: number | undefined, private readonly now: () => number, sample: () => void, stop: () => void, gap: (why: string) => void) {
    this.begunMs = now();
    this.interval = setInterval(sample, intervalMs);
    if (durationMs === undefined) this.interval.unref();
    else this.ending = setTimeout(stop, durationMs);
    this.observe(gap);
  }

  end(): void {
    clearInterval(this.interval);
    if (this.ending !== null) clearTimeout(this.ending);
    this.observer?.disconnect();
    for (const cancel of this.asked) cancel();
  }

  /** The lowest that was in use after a collection of the whole heap since the last record. */
  get lowest(): number {
    return this.lowestBytes;
  }

  collections(): Collections | null {
    const minutes = (this.now() - this.begunMs) / MINUTE_MS;
    return this.observer === null ? null : { ...this.counted, perMinute: minutes > 0 ? this.counted.count / minutes : 0 };
  }

  alerted(alert: Alert): void {
    if (this.alerts.length >= MOST_ALERTS) this.alerts.shift();
    this.alerts.push({ ...alert, at: epoch() });
  }

  record({ heapUsed, heapTotal, external, rss, liveBytes }: Figures): void {
    this.lowestBytes = Infinity;
    // Of those that become one row the lowest: what is above it was garbage.
    if (this.pending === 0 || (liveBytes ?? NaN) < this.cell(this.rows, LIVE)) {
      const row = [epoch(), (this.now() - this.begunMs) / 1000, liveBytes, heapUsed, heapTotal, external, rss];
      this.table.set(row.map((value) => value ?? NaN), this.rows * WIDTH);
    }
    if (++this.pending < this.merged) return;
    this.pending = 0;
    if (++this.rows < MOST_SAMPLES) return;
    for (let row = 0; 2 * row < MOST_SAMPLES; row++) {
      const lower = 2 * row + (this.cell(2 * row + 1, LIVE) < this.cell(2 * row, LIVE) ? 1 : 0);
      this.table.copyWithin(row * WIDTH, lower * WIDTH, (lower + 1) * WIDTH);
    }
    this.rows /= 2;
    this.merged *= 2;
  }

  private cell(row: number, column: number): number {
    return this.table[row * WIDTH + column] ?? NaN;
  }

  private column(column: number): number[] {
    return Array.from({ length: this.rows }, (_, row) => this.cell(row, column));
  }

  get isAsking(): boolean {
    return this.asked.size > 0;
  }

  /** Without blocking. */
  judgeLater(): Promise<JudgedGrowth> {
    const { answers, cancel } = (require('./judge') as typeof Judge).askLater([this.question()]);
    this.asked.add(cancel);
    return answers.then(([answer]) => judgedBy(answer as Judge.Answer)).finally(() => this.asked.delete(cancel));
  }

  judge(): JudgedGrowth {
    const [answer] = (require('./judge') as typeof Judge).ask([this.question()]);
    return judgedBy(answer as Judge.Answer);
  }

  report(intervalMs: number, thresholds: NonNullable<MonitorOptions['thresholds']>, judged: JudgedGrowth | null): Omit<MonitorReport, 'gaps'> {
    const last = this.pending > 0 ? this.rows : this.rows - 1;
    const growth = (column: number): number | null => known(this.cell(last, column) - this.cell(0, column));
    const collections = this.collections();
    const { heapGrowth: mostHeap = 50 * MIB, rssGrowth: mostRss = 100 * MIB, gcFrequency = 100 } = thresholds;
    const [heapGrowth, rssGrowth] = [growth(HEAP_USED), growth(RSS)];
    const [heap, resident, often] = [(heapGrowth ?? 0) / mostHeap, (rssGrowth ?? 0) / mostRss, (collections?.count ?? 0) / gcFrequency];
    return {
      schema: 'plimsoll.memory-monitor/1',
      startedAt: this.startedAt,
      durationMs: Math.round(this.now() - this.begunMs),
      intervalMs,
      samples: this.column(0).map((at, row) => ({
        at,
        heapUsed: known(this.cell(row, HEAP_USED)),
        heapTotal: known(this.cell(row, HEAP_TOTAL)),
        external: known(this.cell(row, EXTERNAL)),
        rss: known(this.cell(row, RSS)),
      })),
      samplesMerged: this.merged,
      heapGrowth,
      rssGrowth,
      collections,
      indicator: heapGrowth === null ? null : heap > 2 ? 'critical' : Math.max(heap, resident, often) >= 1 ? 'warning' : 'healthy',
      judged,
      alerts: this.alerts,
    };
  }

  private question(): Judge.Question {
    return {
      metric: 'live_bytes',
      quantity: 'bytes',
      axis: 'time',
      operations: this.column(SECONDS),
      values: this.column(LIVE),
      alpha: 0.01,
      look: 1,
    };
  }

  private observe(gap: (why: string) => void): void {
    // Loaded by who starts one: importing the package costs each test file, and most watch nothing.
    const { PerformanceObserver, constants } = require('perf_hooks') as typeof PerfHooks;
    // Node 14 tells of collections, but not of what it tells; Deno says that it does, and does not.
    const supported = (PerformanceObserver as unknown as { supportedEntryTypes?: readonly string[] }).supportedEntryTypes;
    if (runtime !== 'node' || supported?.includes('gc') === false) {
      gap(`this ${runtime} does not tell of its collections`);
      return;
    }
    this.observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        this.counted.count++;
        this.counted.ms += entry.duration;
        if (kindOf(entry) !== constants.NODE_PERFORMANCE_GC_MAJOR) continue;
        this.counted.major++;
        this.lowestBytes = Math.min(this.lowestBytes, usedBytes());
      }
    });
    this.observer.observe({ entryTypes: ['gc'] });
  }
}

/** Node 14 has it on the entry itself, where later ones warn of whoever looks. */
function kindOf(entry: PerfHooks.PerformanceEntry): number | undefined {
  const { detail } = entry as unknown as { detail?: { kind?: number } | null };
  return detail ? detail.kind : (entry as unknown as { kind?: number }).kind;
}

function known(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}

function judgedBy({ verdict, rate, low, high, reason }: Judge.Answer): JudgedGrowth {
  const perMinute = (perSecond: number | null): number | null => (perSecond === null ? null : perSecond * 60);
  return { verdict: verdict === 'no_leak' ? 'no leak' : verdict, bytesPerMinute: perMinute(rate), low: perMinute(low), high: perMinute(high), reason };
}
