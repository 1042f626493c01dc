/** Leak tests: an operation is repeated, counted after forced collections, and judged. */

import type { Kind } from './counters';
import type * as Here from './here';
import type * as Isolate from './isolate';
import type * as Load from './load';
import type { Operation } from './rounds';
import { describe, parseSize, type Verdict } from './verdict';

type Settings = Here.Settings;
type Subject = Isolate.Subject;

// Loaded when a test asks: importing the package costs a test file milliseconds, and most of its tests measure nothing.
const here = (): typeof Here => require('./here') as typeof Here;
const isolate = (): typeof Isolate => require('./isolate') as typeof Isolate;
const load = (subject: Subject): Promise<Load.Loaded> => (require('./load') as typeof Load).load(subject);

/** How an operation is measured. */
export interface LeakTestOptions {
  /** Operations of a round; as many as fit by default. */
  readonly iterations?: number;
  /** Growth per call that is allowed: bytes, or a text such as `'64 B'`. The floor of the place by default. */
  readonly limit?: number | string;
  /** Classes whose live instances are counted too, or their names: exports of the operation's module, or of the language. */
  readonly kinds?: readonly (Kind | string)[];
  /**
   * Where: `child`, a clean process of its own, for a module's export; `process`, here. `auto` finds out whether the
   * operation can be imported elsewhere.
   */
  readonly isolate?: 'auto' | 'child' | 'process';
  /** CPU milliseconds that repetition may take. */
  readonly cpuMs?: number;
  /** Wall milliseconds after which an operation that does not settle is given up. */
  readonly timeoutMs?: number;
  /** Whether a leak is explained by heap snapshots. */
  readonly explain?: boolean;
  /** Whether `inconclusive` fails too. */
  readonly strict?: boolean;
}

/** An assertion about memory that does not hold; `verdict` says more. */
export class LeakError extends Error {
  /** What was found. */
  readonly verdict!: Verdict;

  constructor(verdict: Verdict) {
    super(describe(verdict));
    this.name = 'LeakError';
    // Not enumerable: runners print what is, and a verdict holds its series.
    Object.defineProperty(this, 'verdict', { value: verdict });
  }
}

const CPU_MS = 1200;
const TIMEOUT_MS = 10_000;
/**
 * Growth per operation below which nothing is a leak. Live bytes after a collection are exact in Node, so that one small
 * object in a hundred operations shows. Runners that keep mocks and matchers alive add up to a hundred bytes a call.
 */
const FLOOR_BYTES = 0.25;
const DISTURBED_FLOOR_BYTES = 64;

/** The runner whose bookkeeping is in every reading here, if there is one. */
function disturbing(): string | null {
  if (process.env['VITEST'] !== undefined) return 'vitest';
  return process.env['JEST_WORKER_ID'] === undefined ? null : 'jest';
}

const warned = new Set<string>();

/** Once for each text. */
function warn(text: string): void {
  if (warned.has(text)) return;
  warned.add(text);
  process.emitWarning(text, 'PlimsollWarning');
}

/**
 * Repeats `subject` and returns the verdict; throws only what the operation throws, and what is wrong with the options.
 *
 * `subject` is a function, or names an export of a module: `{ module: new URL('./op.mjs', import.meta.url) }`.
 */
export async function check(subject: Operation | Subject, options: LeakTestOptions = {}): Promise<Verdict> {
  const settings = settingsOf(options);
  const kinds = options.kinds ?? [];
  const how = options.isolate ?? 'auto';
  if (how !== 'process') {
    const importable = importableOf(subject, kinds);
    if (typeof importable === 'string') {
      if (how === 'child') throw new TypeError(`not measurable in a process of its own: ${importable}`);
    } else {
      const found = await isolate().inOwnProcess(importable.subject, importable.kinds, settings);
      if ('verdict' in found) return found.verdict;
      // An operation that needs what its test prepared can only be repeated here; one that never settles would not here either.
      const isFinal = how === 'child' || typeof subject !== 'function' || found.error.name === 'UnsettledError';
      if (isFinal) throw found.error;
    }
  }
  const runner = disturbing();
  const floored = options.limit === undefined && runner !== null ? { ...settings, floorBytes: DISTURBED_FLOOR_BYTES } : settings;
  if (runner !== null) {
    warn(
      `measured inside ${runner}, whose own bookkeeping is counted too: less than ${floored.floorBytes} B per call passes. ` +
        'Name a module, { module, export }, to measure in a clean process',
    );
  }
  const loaded = typeof subject === 'function' ? null : await load(subject);
  const classes = kinds.map((kind) => (typeof kind === 'string' ? (loaded?.kind(kind) ?? global(kind)) : kind));
  return here().checkHere(loaded?.operation ?? (subject as Operation), floored, classes);
}

/**
 * Repeats `subject` and fails with a `LeakError` if it leaks; with `strict` also where a leak cannot be ruled out. What is
 * inconclusive is a warning otherwise.
 */
export async function leakTest(subject: Operation | Subject, options: LeakTestOptions = {}): Promise<Verdict> {
  const verdict = await check(subject, options);
  if (verdict.verdict === 'leak' || (options.strict === true && verdict.verdict !== 'no leak')) throw new LeakError(verdict);
  if (verdict.verdict === 'inconclusive') warn(describe(verdict));
  return verdict;
}

/** Settings of the options; what is no option is an error, so that a misspelt one is not lost. */
function settingsOf(options: LeakTestOptions): Settings {
  const known = ['iterations', 'limit', 'kinds', 'isolate', 'cpuMs', 'timeoutMs', 'explain', 'strict'];
  const unknown = Object.keys(options).find((key) => !known.includes(key));
  if (unknown !== undefined) throw new TypeError(`leak tests have no option \`${unknown}\`; there are: ${known.join(', ')}`);
  const { iterations, limit, isolate: where = 'auto', cpuMs = CPU_MS, timeoutMs = TIMEOUT_MS } = options;
  if (iterations !== undefined && !(Number.isInteger(iterations) && iterations > 0)) {
    throw new TypeError(`iterations is a whole number above 0, not ${String(iterations)}`);
  }
  for (const [name, value] of Object.entries({ cpuMs, timeoutMs })) {
    if (!(value > 0)) throw new TypeError(`${name} is milliseconds, above 0, not ${String(value)}`);
  }
  if (!['auto', 'child', 'process'].includes(where)) {
    throw new TypeError(`isolate is 'auto', 'child' or 'process', not ${JSON.stringify(where)}`);
  }
  const floorBytes = limit === undefined ? FLOOR_BYTES : Math.max(parseSize(limit), 0);
  return { iterations, floorBytes, cpuMs, timeoutMs, explain: options.explain ?? true };
}

/** The subject and the classes as another process can import them, or why it cannot. */
function importableOf(subject: Operation | Subject, kinds: readonly (Kind | string)[]): { subject: Subject; kinds: string[] } | string {
  const found = typeof subject === 'function' ? isolate().exported(subject) : subject;
  if (found === null) return 'the operation is no export of a CommonJS module that is loaded; name it as { module, export }';
  const names: string[] = [];
  for (const kind of kinds) {
    if (typeof kind === 'string') {
      names.push(kind);
      continue;
    }
    const at = isolate().exported(kind);
    const isGlobal = (globalThis as { [name: string]: unknown })[kind.name] === kind;
    const isBeside = at !== null && at.export !== undefined && String(at.module) === String(found.module);
    if (!isGlobal && !isBeside) return `${kind.name} is no export of the operation's module`;
    names.push(isGlobal ? kind.name : (at?.export as string));
  }
  return { subject: found, kinds: names };
}

function global(name: string): Kind {
  const value = (globalThis as { [name: string]: unknown })[name];
  if (typeof value !== 'function') throw new TypeError(`the language has no class \`${name}\`; give the class itself`);
  return value as Kind;
}
