/**
 * The balance of a test: listeners, timers, handles and descriptors that are there afterwards and were not before. One run
 * cannot tell a leak from what is made once; but what a test opens it has to close.
 */

import { EventEmitter } from 'events';
import fs = require('fs');

import type * as CensusModule from './census';
import { collector, now, pause, runtime, turn } from './heap';

/** What is there more often than before. */
export interface Surplus {
  /** What it is one of. */
  readonly family: 'listeners' | 'timers' | 'handles' | 'descriptors';
  /** Which: emitter class and event, callback of a timer, type of a handle, target of a descriptor. */
  readonly name: string;
  /** How many more. */
  readonly count: number;
}

/** Something was opened and not closed. */
export class BalanceError extends Error {
  /** All of it. */
  readonly surplus: readonly Surplus[];

  constructor(surplus: readonly Surplus[]) {
    super(`left behind: ${surplus.map((s) => `${s.count} x ${s.family.replace(/s$/, '')} ${s.name}`).join(', ')}`);
    this.name = 'BalanceError';
    this.surplus = surplus;
  }
}

/** How a balance is drawn. */
export interface BalanceOptions {
  /** Milliseconds that closing may take: sockets and files end after the call that ends them. */
  readonly settleMs?: number;
  /** What is no fault of the test. */
  readonly ignore?: (surplus: Surplus) => boolean;
}

type Census = Map<string, Surplus>;

const SETTLE_MS = 250;
const STEP_MS = 10;

/** Counts at `start`, compares at `check`: for the hooks around each test. */
export class Balance {
  private before: Census | null = null;
  private readonly settleMs: number;
  private readonly ignore: (surplus: Surplus) => boolean;

  constructor(options: BalanceOptions = {}) {
    this.settleMs = options.settleMs ?? SETTLE_MS;
    this.ignore = options.ignore ?? (() => false);
  }

  /** Remembers what is there. */
  async start(): Promise<void> {
    await turn();
    this.before = census();
  }

  /**
   * Compares with the start; waits as long as something is closing.
   *
   * @throws {BalanceError} if anything is there more often than at the start.
   */
  async check(): Promise<void> {
    const before = this.before;
    if (before === null) throw new Error('`start` comes before `check`');
    const deadline = now() + this.settleMs;
    for (;;) {
      await turn();
      const surplus = compare(before, census()).filter((item) => !this.ignore(item));
      if (surplus.length === 0) return;
      if (now() >= deadline) throw new BalanceError(surplus);
      await pause(STEP_MS);
    }
  }
}

/** Runs `work`, gives what it gives, and fails with a `BalanceError` if it leaves something open. */
export async function balanced<T>(work: () => T | Promise<T>, options: BalanceOptions = {}): Promise<T> {
  const balance = new Balance(options);
  await balance.start();
  const result = await work();
  await balance.check();
  return result;
}

function compare(before: Census, after: Census): Surplus[] {
  const surplus: Surplus[] = [];
  for (const [key, item] of after) {
    const count = item.count - (before.get(key)?.count ?? 0);
    if (count > 0) surplus.push({ ...item, count });
  }
  return surplus;
}

function census(): Census {
  const found: Census = new Map();
  const add = (family: Surplus['family'], name: string, count: number): void => {
    const key = `${family} ${name}`;
    found.set(key, { family, name, count: count + (found.get(key)?.count ?? 0) });
  };
  for (const type of (process as unknown as { getActiveResourcesInfo?: () => string[] }).getActiveResourcesInfo?.() ?? []) {
    if (type !== 'Timeout' && type !== 'Immediate') add('handles', type, 1);
  }
  descriptors(add);
  if (runtime === 'node') {
    const { withLive } = require('./census') as typeof CensusModule;
    // Garbage is no listener: the census collects, and a turn lets finalisers run before it.
    withLive(EventEmitter.prototype, (emitters) => listeners(emitters, add));
    withLive(timerPrototype(), (timers) => pending(timers, add));
  } else {
    collector()?.();
    for (const name of process.eventNames()) add('listeners', `process '${String(name)}'`, process.listenerCount(name));
  }
  return found;
}

type Add = (family: Surplus['family'], name: string, count: number) => void;

function descriptors(add: Add): void {
  let names: string[];
  try {
    names = fs.readdirSync('/proc/self/fd');
  } catch {
    return;
  }
  for (const name of names) {
    try {
      const target = fs.readlinkSync(`/proc/self/fd/${name}`);
      // Sockets and pipes have numbers of their own; as a kind they are one.
      add('descriptors', target.replace(/:\[\d+\]$/, ''), 1);
    } catch {
      // The one that read the folder is closed again.
    }
  }
}

function listeners(emitters: readonly unknown[], add: Add): void {
  for (const emitter of emitters as EventEmitter[]) {
    // The table itself: a subclass may answer `eventNames` as it likes. Prototypes have none of their own.
    const events = (emitter as unknown as { _events?: { [event: string]: unknown } })._events;
    if (events === undefined || !Object.prototype.hasOwnProperty.call(emitter, '_events')) continue;
    const type = (Object.getPrototypeOf(emitter) as { constructor?: { name?: string } } | null)?.constructor?.name || 'EventEmitter';
    for (const event of Reflect.ownKeys(events)) {
      const handlers = events[event as string];
      add('listeners', `${type} '${String(event)}'`, Array.isArray(handlers) ? handlers.length : handlers === undefined ? 0 : 1);
    }
  }
}

interface Timer {
  readonly _destroyed?: boolean;
  readonly _idleTimeout?: number;
  readonly _repeat?: number | null;
  readonly _onTimeout?: ((...args: unknown[]) => unknown) | null;
}

function timerPrototype(): object {
  const timer = setTimeout(() => undefined, 1e9);
  clearTimeout(timer);
  return Object.getPrototypeOf(timer) as object;
}

function pending(timers: readonly unknown[], add: Add): void {
  for (const timer of timers as Timer[]) {
    if (timer._destroyed !== false || typeof timer._onTimeout !== 'function') continue;
    const how = typeof timer._repeat === 'number' ? 'setInterval' : 'setTimeout';
    add('timers', `${how}(${timer._onTimeout.name || 'anonymous'}, ${String(timer._idleTimeout)} ms)`, 1);
  }
}
