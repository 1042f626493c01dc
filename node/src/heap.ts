/**
 * Live bytes of this isolate: what is still reachable after forced collections.
 *
 * No `--expose-gc` is needed: the flag is set for as long as it takes to fetch the function and put back at once, so that
 * neither `globalThis` nor a later context gets a `gc`.
 */

import timers = require('timers');
import type * as V8 from 'v8';
import type * as Vm from 'vm';

// Taken when this module is loaded: fake timers replace the globals, and some of them what `timers` exports too.
const { setImmediate, setTimeout, setInterval, clearInterval } = timers;

/** Milliseconds since the epoch, whatever a test makes of the clock later. */
export const now = Date.now;

let loaded: typeof V8 | undefined;

/** Loaded when it is needed: it brings the streams along, a quarter of what importing this package costs. */
export function v8(): typeof V8 {
  return (loaded ??= require('v8') as typeof V8);
}

interface BunGlobal {
  gc(force: boolean): void;
}
interface Globals {
  gc?: () => void;
  Bun?: BunGlobal;
  Deno?: { version: { deno: string } };
}
const globals = globalThis as unknown as Globals;

/** Deno and Bun answer to Node's names; only their own globals tell them apart. */
export const runtime: 'node' | 'bun' | 'deno' = globals.Deno ? 'deno' : globals.Bun ? 'bun' : 'node';

let taken: (() => void) | null | undefined;

/** The collector of this isolate, or null where the runtime gives us none. */
export function collector(): (() => void) | null {
  if (taken === undefined) {
    try {
      taken = take();
    } catch {
      taken = null;
    }
  }
  return taken;
}

function take(): (() => void) | null {
  if (typeof globals.gc === 'function') return globals.gc;
  const bun = globals.Bun;
  if (bun) return () => bun.gc(true);
  v8().setFlagsFromString('--expose-gc');
  try {
    const gc: unknown = (require('vm') as typeof Vm).runInNewContext('gc');
    return typeof gc === 'function' ? (gc as () => void) : null;
  } finally {
    v8().setFlagsFromString('--no-expose-gc');
  }
}

/**
 * Without optimizing compilers and without flushing bytecode that has not run for a while. Compiled code lies on the heap
 * and comes function by function, for thousands of calls: a request to an HTTP server grew by 100 B each after 2,000 calls,
 * and by exactly 0 after 300 without compilers.
 */
const QUIET = ['opt', 'sparkplug', 'maglev', 'flush-bytecode'];

/** Keeps the compilers quiet until the function returned is called. What the user has switched off stays off. */
export function quietCompilers(): () => void {
  if (runtime !== 'node') return () => undefined;
  const given = `${process.execArgv.join(' ')} ${process.env['NODE_OPTIONS'] ?? ''}`;
  const flags = QUIET.filter((flag) => !given.includes(`--no-${flag}`));
  for (const flag of flags) v8().setFlagsFromString(`--no-${flag}`);
  return () => {
    // Maglev is off by default in Node 20.
    const major = Number(process.versions.node.split('.')[0]);
    for (const flag of flags) if (flag !== 'maglev' || major >= 22) v8().setFlagsFromString(`--${flag}`);
  };
}

/** A turn of the event loop: finalisers run in it, and weak references of the last job are let go. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A pause that keeps the process alive. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Calls `f` every so many milliseconds until ended, and keeps the process alive meanwhile. */
export function every(milliseconds: number, f: () => void): { end: () => void } {
  const timer = setInterval(f, milliseconds);
  return { end: () => clearInterval(timer) };
}

/** Bytes in use on the heap and, owned by its objects, off it. `external` already contains array buffers. */
export function usedBytes(): number {
  if (runtime === 'bun') return (require('bun:jsc') as { heapStats: () => { heapSize: number } }).heapStats().heapSize;
  const statistics = v8().getHeapStatistics();
  return statistics.used_heap_size + (statistics.external_memory ?? process.memoryUsage().external);
}

/** Collections of one reading at most. */
const MOST_PASSES = 6;
/**
 * A reading this far above the last is looked at again after a while: a function that is being compiled on another thread
 * holds some 240 kB until it is done, and two readings in between agree on it.
 */
const DOUBTFUL_BYTES = 64 * 1024;
const DOUBT_MS = 30;

let settledAt = Infinity;

/** Collects, with a turn of the event loop before each collection, until two readings agree; live bytes after that. */
export async function liveBytes(): Promise<number> {
  const collect = collector();
  if (collect === null) throw new Error('this runtime does not let its collector be called');
  let doubted = false;
  let last = NaN;
  for (let passes = 1; ; passes++) {
    await turn();
    collect();
    const live = usedBytes();
    const agrees = live === last;
    last = live;
    if (agrees && !doubted && live - settledAt > DOUBTFUL_BYTES) {
      doubted = true;
      await pause(DOUBT_MS);
    } else if (agrees || passes >= (doubted ? MOST_PASSES + 2 : MOST_PASSES)) {
      settledAt = live;
      return live;
    }
  }
}
