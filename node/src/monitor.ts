/**
 * `MemoryMonitor`: budgets of sessions and of the process, with alerts and actions, by what the process says of itself.
 *
 * It reads at an interval and at each charge, forces no collection unless told to, and leaves no timer, observer, listener or
 * child behind when it is stopped.
 */

import { EventEmitter } from 'events';
import * as fs from 'fs';

import { collector, runtime, turn, v8 } from './heap';
import { Run, type Figures } from './monitor-run';
import { sizeOf, type SizeEstimate } from './size-of';
import type * as Snapshot from './snapshot';
import { parseSize } from './verdict';
import { Watch, type Alert, type Lines, type Reading, type SessionStatus, type Source } from './watch';

export type { Alert, AlertType, Method, SessionStatus, Severity } from './watch';

// Taken when this module is loaded: tests replace clocks.
const { hrtime } = process;
const epoch = Date.now;

function monotonic(): number {
  const [seconds, nanoseconds] = hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

/** What is done when an alert is raised, in this order. */
export type ActionName = 'collect' | 'clear caches' | 'evict' | 'callback';

/** What the program lets the monitor do. What is left out is not done. */
export interface MonitorActions {
  /** The process is critical: `true` forces a collection. At most once in `cooldownMs`. */
  readonly collect?: boolean | ((alert: Alert) => void);
  /** The process is critical. At most once in `cooldownMs`. */
  readonly clearCaches?: (alert: Alert) => void;
  /** A session, or a component of one, is above its budget. */
  readonly evict?: (session: string, alert: Alert) => void;
  /** Whatever is raised. */
  readonly callback?: (alert: Alert) => void;
}

/** An action that was taken, or failed. */
export interface ActionTaken {
  readonly action: ActionName;
  readonly alert: Alert;
  /** What it threw. */
  readonly error: unknown;
  /** Told and not taken. */
  readonly dryRun: boolean;
}

/** Lines and habits of a monitor. Sizes are bytes, or texts such as `'10 MB'`. */
export interface MonitorOptions {
  /** Budget of each session: 10 MiB. */
  readonly perSession?: number | string;
  /** Budget of the process: 150 MiB. */
  readonly totalSystem?: number | string;
  /** Percent of a budget from which on it is a warning: 80. */
  readonly alertThreshold?: number;
  /** Percent of a budget by which a value must fall below a line: 5. */
  readonly hysteresis?: number;
  /** Growth per minute above which it is an error: 1 MiB. */
  readonly growthPerMinute?: number | string;
  /** Milliseconds over which growth is looked at: 10 minutes. */
  readonly growthWindowMs?: number;
  /** Percent of the heap's limit above which it is a warning: 90. */
  readonly heapFull?: number;
  /** Budgets of components of a session, by name. */
  readonly components?: { readonly [component: string]: number | string };
  readonly actions?: MonitorActions;
  /** Milliseconds between two collections, or clearings of caches: a minute. */
  readonly cooldownMs?: number;
  /** Tells actions instead of taking them; the callback runs. */
  readonly dryRun?: boolean;
  /** What the budget of the process is about: `heap`, used and external bytes; `rss`, resident ones. */
  readonly total?: 'heap' | 'rss';
  /** Milliseconds between samples: a minute; a second where `duration` or `outputFile` is given. */
  readonly interval?: number;
  /** Milliseconds after which it stops by itself. Until then it keeps the process alive. */
  readonly duration?: number;
  /** Where the report goes, as JSON, when it stops. */
  readonly outputFile?: string;
  /** What the report calls a warning: growth of the heap (50 MiB) and of resident memory (100 MiB), collections (100). */
  readonly thresholds?: { readonly heapGrowth?: number; readonly rssGrowth?: number; readonly gcFrequency?: number };
  /** Estimates a session's root; for tests. */
  readonly sizeOf?: (root: object) => SizeEstimate;
  /** Milliseconds, for tests. */
  readonly now?: () => number;
  /** What the process says of itself, for tests. */
  readonly read?: () => Reading;
}

/** Who knows a session's bytes. */
export interface SessionOptions {
  /** The object that holds it, walked now and then: an estimate. It is not kept alive. */
  readonly root?: object;
  /** Asked at each sample. */
  readonly bytes?: () => number;
}

/** Collections since the start. */
export interface Collections {
  readonly count: number;
  /** Of them, of the whole heap. */
  readonly major: number;
  readonly ms: number;
  readonly perMinute: number;
}

/** What the judge says of the growth of the process since the start. */
export interface JudgedGrowth {
  readonly verdict: 'leak' | 'no leak' | 'inconclusive';
  readonly bytesPerMinute: number | null;
  /** 95 % interval. */
  readonly low: number | null;
  readonly high: number | null;
  readonly reason: string;
}

/** Growth, with how it is known. */
export interface GrowthStatus {
  /** The judge's rate where it was asked, else the plain slope; null while too little is known. */
  readonly bytesPerMinute: number | null;
  readonly method: 'judge' | 'slope';
  /** Its last word; null before it was asked, or where there is no binary. */
  readonly judged: JudgedGrowth | null;
}

/** One look at process and sessions. What is not known is null. */
export interface MonitorSample {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly totalBytes: number | null;
  /** What that is: used and external bytes of the heap, garbage among them, or resident ones. */
  readonly totalIs: 'heap' | 'rss';
  readonly heapUsed: number | null;
  readonly heapTotal: number | null;
  readonly heapLimit: number | null;
  readonly external: number | null;
  readonly rss: number | null;
  /** Percent of the heap's limit in use. */
  readonly gcPressure: number | null;
  /** Null where the runtime does not tell. */
  readonly collections: Collections | null;
  readonly growth: GrowthStatus;
  readonly sessionCount: number;
  readonly sessions: { readonly [session: string]: SessionStatus };
  /** Charged bytes by component, of all sessions. */
  readonly components: { readonly [component: string]: number };
  /** What could not be asked or judged, and why. */
  readonly gaps: readonly string[];
}

/** What a monitor saw from start to stop. */
export interface MonitorReport {
  readonly schema: 'plimsoll.memory-monitor/1';
  readonly startedAt: number;
  readonly durationMs: number;
  readonly intervalMs: number;
  readonly samples: readonly { readonly at: number; readonly heapUsed: number | null; readonly heapTotal: number | null; readonly external: number | null; readonly rss: number | null }[];
  /** So many samples in a row became one, their lowest, because there were too many. */
  readonly samplesMerged: number;
  readonly heapGrowth: number | null;
  readonly rssGrowth: number | null;
  readonly collections: Collections | null;
  /** By `thresholds`: a warning from one of them on, critical above twice the heap's. A rule, and no verdict. */
  readonly indicator: 'healthy' | 'warning' | 'critical' | null;
  /** The judge's word; null where it could not be asked, for the reason in `gaps`. */
  readonly judged: JudgedGrowth | null;
  readonly alerts: readonly (Alert & { readonly at: number })[];
  readonly gaps: readonly string[];
}

const MIB = 1024 * 1024;
const MINUTE_MS = 60_000;
const MOST_GAPS = 20;
/** CPU that walking the sessions' roots may take per sample: so much, and this share of the interval. */
const WALK_MS = 3;
const WALK_SHARE = 0.0004;
/** A root that is gone. */
const GONE: SizeEstimate = { bytes: 0, isComplete: true, functions: 0 };
/** Ended sessions whose roots are remembered, weakly. */
const MOST_ENDED = 1000;

/**
 * Watches budgets. Emits `sample` with a `MonitorSample`; `alert` and, by severity, `alert:warning`, `alert:error`, `alert:critical`,
 * `alert:recovered` with an `Alert`; `action` with an `ActionTaken`; `verdict` with a `JudgedGrowth`; `stop` with a `MonitorReport`.
 */
export class MemoryMonitor extends EventEmitter {
  readonly intervalMs: number;
  private readonly options: MonitorOptions;
  private readonly lines: Lines;
  private readonly watch: Watch;
  private readonly now: () => number;
  private readonly roots = new Map<string, WeakRef<object>>();
  private readonly ended: { readonly name: string; readonly root: WeakRef<object> }[] = [];
  private readonly gaps = new Set<string>();
  private readonly lastTaken = new Map<ActionName, number>();
  private run: Run | null = null;
  private walkCredit = 0;
  private walkNext = 0;
  private judged: JudgedGrowth | null = null;
  // When it was last asked by itself; null while growth is below its line.
  private growthAskedMs: number | null = null;

  constructor(options: MonitorOptions = {}, intervalMs?: number) {
    super();
    this.options = checked(options);
    this.lines = linesOf(options);
    const usual = options.duration !== undefined || options.outputFile !== undefined ? 1000 : MINUTE_MS;
    this.intervalMs = positive('interval', intervalMs ?? options.interval ?? usual);
    this.now = options.now ?? monotonic;
    this.watch = new Watch(this.lines, (alert) => this.raise(alert));
  }

  get isRunning(): boolean {
    return this.run !== null;
  }

  /** Samples now and at each interval. Starting twice does nothing. */
  start(): this {
    if (this.run !== null) return this;
    this.judged = null;
    this.run = new Run(this.intervalMs, this.options.duration, this.now, () => this.sample(), () => this.stop(), (why) => this.gap(why));
    this.sample();
    return this;
  }

  /** Ends it, and says what was seen; writes it to `outputFile`. Null if it did not run. */
  stop(): MonitorReport | null {
    const run = this.run;
    if (run === null) return null;
    this.run = null;
    run.end();
    const { outputFile, thresholds } = this.options;
    if (outputFile !== undefined) this.judged = this.judgeAtLast(run);
    const report = { ...run.report(this.intervalMs, thresholds ?? {}, this.judged), gaps: [...this.gaps] };
    try {
      if (outputFile !== undefined) fs.writeFileSync(outputFile, `${JSON.stringify(report, null, 2)}\n`);
    } finally {
      this.emit('stop', report);
    }
    return report;
  }

  /** Makes a session known, or changes who knows its bytes. */
  register(session: string, options: SessionOptions = {}): this {
    const { root, bytes } = options;
    if (root !== undefined && bytes !== undefined) throw new TypeError('a session has a root or a function that knows its bytes, not both');
    if (root === undefined) this.roots.delete(session);
    else this.roots.set(session, new WeakRef(root));
    // A root is walked by turns, and says so itself.
    const walked: Source = () => undefined;
    this.watch.register(session, bytes !== undefined ? () => this.ask(session, bytes) : root !== undefined ? walked : null);
    return this;
  }

  /**
   * The session, or this component of it, now takes so many bytes, as the program knows it. Alerts and actions come before it
   * returns whether session and component are within their budgets.
   */
  charge(session: string, bytes: number, component?: string): boolean {
    return this.watch.charge(session, bytes, component);
  }

  /**
   * Walks a session's root now: an estimate, see `sizeOf`.
   *
   * @throws {Error} if it has none.
   */
  measure(session: string): SessionStatus {
    const object = this.rootOf(session);
    const { bytes, isComplete, functions } = object === undefined ? GONE : (this.options.sizeOf ?? sizeOf)(object);
    this.watch.say(session, { bytes, method: 'estimated', isComplete: isComplete && functions === 0 });
    return this.watch.status(session) as SessionStatus;
  }

  /**
   * Takes a session's retained size from a heap snapshot: closures too, and not what others hold as well. The process stands still while the
   * snapshot is written; where memory may not suffice for it, none is.
   *
   * @throws {SnapshotError} if none is taken.
   * @throws {BinaryError} if there is nothing to read it with.
   */
  async measureRetained(session: string): Promise<SessionStatus> {
    const object = this.rootOf(session);
    const bytes = object === undefined ? 0 : await (require('./snapshot') as typeof Snapshot).retainedBytes(object);
    this.watch.say(session, { bytes, method: 'retained', isComplete: true });
    const status = this.watch.status(session);
    if (status === undefined) throw new Error(`session ${session} ended while it was measured`);
    return status;
  }

  private rootOf(session: string): object | undefined {
    const root = this.roots.get(session);
    if (root === undefined) throw new Error(`session ${session} was not registered with a root to measure`);
    return root.deref();
  }

  /** The session is over; whether there was one. */
  end(session: string): boolean {
    const root = this.roots.get(session);
    this.roots.delete(session);
    if (root !== undefined) {
      if (this.ended.length >= MOST_ENDED) this.ended.shift();
      this.ended.push({ name: session, root });
    }
    return this.watch.end(session);
  }

  /** Ended sessions whose roots are still reachable after a forced collection: what keeps them is a leak. */
  async retained(): Promise<string[]> {
    const collect = collector();
    if (collect === null) throw new Error(`this ${runtime} does not let its collector be called`);
    for (let pass = 0; pass < 2; pass++) {
      await turn();
      collect();
    }
    const kept = this.ended.filter(({ root }) => root.deref() !== undefined);
    this.ended.splice(0, this.ended.length, ...kept);
    return kept.map(({ name }) => name);
  }

  /** Looks at process and sessions now; emits `sample`. */
  sample(): MonitorSample {
    const figures = this.read();
    this.walk();
    this.watch.sample(this.now(), figures);
    this.run?.record(figures);
    this.judgeGrowth();
    const sample = this.status(figures);
    this.emit('sample', sample);
    return sample;
  }

  /** What is known now, without an alert. */
  metrics(): MonitorSample {
    return this.status(this.read());
  }

  /**
   * Asks the judge about the growth of the process since the start. It is also asked by itself when growth passes its line.
   *
   * @throws {BinaryError} if there is none.
   */
  async verdict(): Promise<JudgedGrowth> {
    const { run } = this;
    if (run === null) throw new Error('the monitor is not running: there is nothing to judge');
    const judged = await run.judgeLater();
    if (this.run === run) {
      this.judged = judged;
      this.emit('verdict', judged);
    }
    return judged;
  }

  // A timer asks, so that what the program's function throws would end the program: it is a gap.
  private ask(session: string, source: () => number): ReturnType<Source> {
    try {
      const bytes = source();
      if (bytes >= 0) return { bytes, method: 'reported', isComplete: true };
      this.gap(`session ${session} says that it takes ${String(bytes)} bytes`);
    } catch (error) {
      this.gap(`session ${session} does not say what it takes: ${String(error)}`);
    }
    return undefined;
  }

  private gap(why: string): void {
    if (this.gaps.size < MOST_GAPS) this.gaps.add(why);
  }

  private read(): Figures {
    const nothing = { heapUsed: null, heapTotal: null, heapLimit: null, external: null, rss: null };
    if (this.options.read !== undefined) return { ...nothing, ...this.options.read() };
    const total = this.options.total ?? 'heap';
    const { rss, external, heapTotal, heapUsed } = process.memoryUsage();
    const used = heapUsed + external;
    // Bun and Deno answer 0 or the like.
    const limit = runtime === 'node' ? v8().getHeapStatistics().heap_size_limit : 0;
    return {
      totalBytes: total === 'rss' ? rss : used,
      liveBytes: Math.min(this.run?.lowest ?? Infinity, used),
      heapFullPercent: limit > 0 ? (heapUsed / limit) * 100 : null,
      heapUsed,
      heapTotal,
      heapLimit: limit > 0 ? limit : null,
      external,
      rss,
    };
  }

  // In the end, when nothing may be left running.
  private judgeAtLast(run: Run): JudgedGrowth | null {
    try {
      return run.judge();
    } catch (error) {
      this.gap(firstLine(error as Error));
      return null;
    }
  }

  // Estimates the roots by turns, as long as there is CPU for it.
  private walk(): void {
    const names = [...this.roots.keys()].sort();
    const perSample = WALK_MS + WALK_SHARE * this.intervalMs;
    this.walkCredit = Math.min(this.walkCredit + perSample, perSample);
    for (let count = 0; count < names.length && this.walkCredit > 0; count++) {
      const begun = monotonic();
      const name = names[this.walkNext++ % names.length] as string;
      // A listener may have ended it.
      if (this.roots.has(name)) this.measure(name);
      this.walkCredit -= monotonic() - begun;
    }
  }

  private status(figures: Figures): MonitorSample {
    const sessions: { [session: string]: SessionStatus } = {};
    const components: { [component: string]: number } = {};
    for (const name of this.watch.names()) {
      const status = this.watch.status(name) as SessionStatus;
      sessions[name] = status;
      for (const [component, bytes] of Object.entries(status.components)) components[component] = (components[component] ?? 0) + bytes;
    }
    const { heapUsed, heapTotal, heapLimit, external, rss } = figures;
    const rate = this.judged?.bytesPerMinute ?? null;
    return {
      at: epoch(),
      totalBytes: figures.totalBytes ?? this.watch.totalBytes,
      totalIs: this.options.total ?? 'heap',
      heapUsed,
      heapTotal,
      heapLimit,
      external,
      rss,
      gcPressure: figures.heapFullPercent,
      collections: this.run?.collections() ?? null,
      growth: { bytesPerMinute: rate ?? this.watch.bytesPerMinute, method: rate === null ? 'slope' : 'judge', judged: this.judged },
      sessionCount: this.watch.sessionCount,
      sessions,
      components,
      gaps: [...this.gaps],
    };
  }

  private raise(alert: Alert): void {
    this.run?.alerted(alert);
    this.emit(`alert:${alert.severity}`, alert);
    this.emit('alert', alert);
    if (alert.severity === 'recovered') {
      // What the judge said was about growth that is over.
      if (alert.type === 'growth') this.judged = this.growthAskedMs = null;
      return;
    }
    const { collect, clearCaches, evict, callback } = this.options.actions ?? {};
    if (alert.severity === 'critical') {
      if (collect !== undefined && collect !== false) this.take('collect', alert, () => (collect === true ? forceCollection() : collect(alert)));
      if (clearCaches !== undefined) this.take('clear caches', alert, () => clearCaches(alert));
    }
    if (alert.severity === 'error' && alert.session !== null && evict !== undefined) {
      const { session } = alert;
      this.take('evict', alert, () => evict(session, alert));
    }
    if (callback !== undefined) this.take('callback', alert, () => callback(alert));
    if (alert.type === 'growth') this.growthAskedMs = -Infinity;
  }

  // The judge is asked about growth above its line, and again as there is more to judge.
  private judgeGrowth(): void {
    const { run } = this;
    const now = this.now();
    if (run === null || run.isAsking || this.growthAskedMs === null || now - this.growthAskedMs < this.lines.growthWindowMs / 2) return;
    this.growthAskedMs = now;
    this.verdict().catch((error: Error) => {
      // One that was cancelled says nothing about the judge.
      if (this.run === run) this.gap(firstLine(error));
    });
  }

  // An action that throws stops neither the others nor the monitor.
  private take(action: ActionName, alert: Alert, act: () => void): void {
    const now = this.now();
    const isOfAll = action === 'collect' || action === 'clear caches';
    if (isOfAll && now - (this.lastTaken.get(action) ?? -Infinity) < (this.options.cooldownMs ?? MINUTE_MS)) return;
    this.lastTaken.set(action, now);
    const dryRun = this.options.dryRun === true && action !== 'callback';
    let error: unknown = null;
    try {
      if (!dryRun) act();
    } catch (thrown) {
      error = thrown;
    }
    const taken: ActionTaken = { action, alert, error, dryRun };
    this.emit('action', taken);
  }
}

function forceCollection(): void {
  const collect = collector();
  if (collect === null) throw new Error(`this ${runtime} does not let its collector be called`);
  collect();
}

const KNOWN = [
  'perSession', 'totalSystem', 'alertThreshold', 'hysteresis', 'growthPerMinute', 'growthWindowMs', 'heapFull', 'components', 'actions',
  'cooldownMs', 'dryRun', 'total', 'interval', 'duration', 'outputFile', 'thresholds', 'sizeOf', 'now', 'read',
];

/** What is no option is an error, so that a misspelt one is not lost. */
function checked(options: MonitorOptions): MonitorOptions {
  const unknown = Object.keys(options).find((key) => !KNOWN.includes(key));
  if (unknown !== undefined) throw new TypeError(`a monitor has no option \`${unknown}\`; there are: ${KNOWN.join(', ')}`);
  const actions = ['collect', 'clearCaches', 'evict', 'callback'];
  const unable = Object.keys(options.actions ?? {}).find((key) => !actions.includes(key));
  if (unable !== undefined) throw new TypeError(`a monitor has no action \`${unable}\`; there are: ${actions.join(', ')}`);
  if (!['heap', 'rss'].includes(options.total ?? 'heap')) throw new TypeError(`total is 'heap' or 'rss', not ${JSON.stringify(options.total)}`);
  if (options.duration !== undefined) positive('duration', options.duration);
  if (!((options.cooldownMs ?? 0) >= 0)) throw new TypeError(`cooldownMs is milliseconds, not ${String(options.cooldownMs)}`);
  return options;
}

function linesOf(options: MonitorOptions): Lines {
  const budget = (name: string, value: number | string): number => positive(name, typeof value === 'string' ? parseSize(value) : value);
  const percent = (name: string, value: number, least: number): number => {
    if (!(value >= least && value <= 100)) throw new TypeError(`${name} is percent, ${least} to 100, not ${String(value)}`);
    return value;
  };
  return {
    perSession: budget('perSession', options.perSession ?? 10 * MIB),
    totalSystem: budget('totalSystem', options.totalSystem ?? 150 * MIB),
    alertThreshold: positive('alertThreshold', percent('alertThreshold', options.alertThreshold ?? 80, 0)),
    hysteresis: percent('hysteresis', options.hysteresis ?? 5, 0),
    growthPerMinute: budget('growthPerMinute', options.growthPerMinute ?? MIB),
    growthWindowMs: positive('growthWindowMs', options.growthWindowMs ?? 10 * MINUTE_MS),
    heapFull: positive('heapFull', percent('heapFull', options.heapFull ?? 90, 0)),
    components: Object.fromEntries(Object.entries(options.components ?? {}).map(([name, value]) => [name, budget(`components.${name}`, value)])),
  };
}

function positive(name: string, value: number): number {
  if (!(value > 0)) throw new TypeError(`${name} is a number above 0, not ${String(value)}`);
  return value;
}

function firstLine(error: Error): string {
  return error.message.split('\n')[0] as string;
}
