/**
 * What is counted after each round: live bytes, descriptors, timers, handles, listeners of the process, and instances of
 * the classes asked for. Readings go into a preallocated array, so that the record itself never grows: an engine that keeps
 * an object per reading finds its first leak in itself. What this platform cannot tell is a gap with a reason, never a zero.
 */

import fs = require('fs');
import v8 = require('v8');

import { liveBytes } from './heap';

/** A class whose live instances are counted. */
export type Kind = abstract new (...args: never[]) => unknown;

interface Counter {
  readonly name: string;
  readonly quantity: 'bytes' | 'count';
  /** Growth over the last rounds that is level: in all, and per operation. */
  readonly level: number;
  readonly read: () => number;
}

/** Readings of one measurement at most. */
const CAPACITY = 256;
/** Growth of counts per operation below which nothing is a leak: DESIGN's floor, one thing in 200 operations. */
const COUNT_FLOOR = 0.005;

/** A fall below which a collection of something else is no question. */
const FALL_BYTES = 1024;

/** @internal */
export const LIVE_BYTES = 0;

/** @internal Instances of `kind` that are reachable; null where this runtime cannot tell. */
export function countInstances(kind: Kind): number | null {
  const query = (v8 as unknown as { queryObjects?: (kind: Kind, options: { format: 'count' }) => unknown }).queryObjects;
  if (query === undefined) return null;
  // The first use would print a warning into the output of the user's tests. Synchronous, so nobody else's is lost.
  const emitWarning = process.emitWarning;
  process.emitWarning = () => undefined;
  try {
    const count = query(kind, { format: 'count' });
    return typeof count === 'number' ? count : null;
  } finally {
    process.emitWarning = emitWarning;
  }
}

function countDescriptors(): number {
  return fs.readdirSync('/proc/self/fd').length;
}

interface Resources {
  getActiveResourcesInfo?: () => string[];
}

function resources(wanted: 'timers' | 'handles'): number {
  let count = 0;
  for (const type of (process as unknown as Resources).getActiveResourcesInfo?.() ?? []) {
    if (type === 'Immediate') continue;
    if ((type === 'Timeout') === (wanted === 'timers')) count++;
  }
  return count;
}

function processListeners(): number {
  let count = 0;
  for (const name of process.eventNames()) count += process.listenerCount(name);
  return count;
}

/** @internal The readings of one measurement. */
export class Counters {
  /** What cannot be counted here, and why. */
  readonly gaps: string[] = [];
  private readonly counters: Counter[];
  private readonly table: Float64Array;
  private readonly operations = new Float64Array(CAPACITY);
  private rows = 0;

  constructor(kinds: readonly Kind[], floorBytes: number) {
    this.counters = [{ name: 'live_bytes', quantity: 'bytes', level: floorBytes, read: () => NaN }];
    const count = (name: string, read: () => number): void => {
      this.counters.push({ name, quantity: 'count', level: COUNT_FLOOR, read });
    };
    if (fs.existsSync('/proc/self/fd')) count('descriptors', countDescriptors);
    else this.gaps.push('descriptors are counted on Linux only');
    if (typeof (process as unknown as Resources).getActiveResourcesInfo === 'function') {
      count('timers', () => resources('timers'));
      count('handles', () => resources('handles'));
    } else {
      this.gaps.push('this runtime does not list its timers and handles');
    }
    count('listeners of the process', processListeners);
    for (const kind of kinds) {
      if (countInstances(kind) === null) this.gaps.push(`this runtime does not count instances (${kind.name})`);
      else count(`instances of ${kind.name || 'an anonymous class'}`, () => countInstances(kind) ?? NaN);
    }
    this.table = new Float64Array(CAPACITY * this.counters.length);
  }

  /** Names in the order of a reading. */
  get names(): string[] {
    return this.counters.map((counter) => counter.name);
  }

  /** Bytes or things. */
  quantity(counter: number): 'bytes' | 'count' {
    return this.counters[counter]?.quantity ?? 'count';
  }

  /** Readings so far. */
  get length(): number {
    return this.rows;
  }

  /** Whether so many more readings fit. */
  hasRoom(readings: number): boolean {
    return this.rows + readings <= CAPACITY;
  }

  /** Collects and counts. */
  async read(operationsDone: number): Promise<void> {
    const at = this.rows * this.counters.length;
    // Counted first: each makes garbage that the collections of the live bytes take.
    for (let counter = 1; counter < this.counters.length; counter++) {
      this.table[at + counter] = (this.counters[counter] as Counter).read();
    }
    this.table[at] = await liveBytes();
    this.operations[this.rows++] = operationsDone;
  }

  /** Forgets all readings but the last `kept`. */
  restart(kept: number): void {
    const from = Math.max(this.rows - kept, 0);
    const width = this.counters.length;
    this.table.copyWithin(0, from * width, this.rows * width);
    this.operations.copyWithin(0, from, this.rows);
    this.rows -= from;
  }

  /** One reading. */
  value(row: number, counter: number): number {
    return this.table[row * this.counters.length + counter] ?? NaN;
  }

  /** All readings of one counter. */
  column(counter: number): number[] {
    return Array.from({ length: this.rows }, (_, row) => this.value(row, counter));
  }

  /** Operations done at each reading. */
  allOperations(): number[] {
    return Array.from(this.operations.subarray(0, this.rows));
  }

  /** Growth over the last `rounds`, and the operations in them. */
  growth(counter: number, rounds: number): { grown: number; operations: number } {
    const last = this.rows - 1;
    const first = Math.max(last - rounds, 0);
    return {
      grown: this.value(last, counter) - this.value(first, counter),
      operations: (this.operations[last] ?? 0) - (this.operations[first] ?? 0),
    };
  }

  /** Counters that are not level over the last `rounds`. */
  growing(rounds: number, levelBytes: number): number[] {
    const growing: number[] = [];
    this.counters.forEach((counter, index) => {
      const { grown, operations } = this.growth(index, rounds);
      const level = counter.quantity === 'bytes' ? Math.max(counter.level * operations, levelBytes) : counter.level * operations;
      // Bytes that fall are not level either: what is given back late hides what grows.
      const falls = counter.quantity === 'bytes' && -grown > Math.max(4 * level, FALL_BYTES);
      if (grown > level || falls) growing.push(index);
    });
    return growing;
  }

  /** Median over the rounds of the live bytes that each operation of it left. */
  medianBytesPerOperation(): number {
    const perOperation: number[] = [];
    for (let row = 1; row < this.rows; row++) {
      const operations = (this.operations[row] ?? 0) - (this.operations[row - 1] ?? 0);
      if (operations > 0) perOperation.push((this.value(row, LIVE_BYTES) - this.value(row - 1, LIVE_BYTES)) / operations);
    }
    return median(perOperation);
  }
}

/** @internal The middle value, the mean of the two in the middle of an even number; NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? NaN) + upper) / 2;
}
