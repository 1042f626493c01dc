/*
 * Sessions as a subject: each desk has a draft, a timer, a listener and an open file, and gives all of them back. Budgets, cache and
 * pool are the npm package's, where it was built. `MUTANT` gives it one bug, each of which turns exactly one test red:
 *
 *   history    the drafts of closed desks are kept                     heap_growth and heap_stability, which are one row
 *   listener   a listener stays of each hundredth desk                 listeners
 *   timer      the timer of each hundredth desk stays                  timers
 *   file       the file stays open                                     file_handles
 *   shared     the cache forgets whose value it is                     isolation
 *   unbounded  the cache has no bounds of entries                      cache_entries
 *   heavy      the cache has no bounds of bytes                        cache_bytes
 *   silent     the monitor's warnings are not wired up                 budget_enforcement
 *   fresh      the pool takes nothing back                             pool_reuse
 */

import { EventEmitter } from 'node:events';
import { closeSync, openSync } from 'node:fs';

const MUTANT = process.env.MUTANT ?? '';

/** Listeners and timers are memory too: so few of them stay that only who counts them sees it. */
const STAYS = 100;

const bus = new EventEmitter().setMaxListeners(0);
const history = [];
/** Knows no desk: one whose timer stays does not. */
const tick = () => bus.emit('tick');

export const kind = 'Desk';

class Desk {
  constructor(number) {
    this.number = number;
    this.draft = Array.from({ length: 100 }, (_, line) => `line ${line} of ${number}`);
    this.onNews = () => this.draft.length;
    bus.on('news', this.onNews);
    this.timer = setInterval(tick, 3_600_000);
    this.file = openSync('/dev/null');
  }

  close() {
    bus.off('news', this.onNews);
    const stays = this.number % STAYS === 0;
    // One that knows no desk: what leaks is the listener alone.
    if (MUTANT === 'listener' && stays) bus.on('news', Number);
    if (MUTANT !== 'timer' || !stays) clearInterval(this.timer);
    if (MUTANT !== 'file') closeSync(this.file);
    if (MUTANT === 'history') history.push(this.draft);
  }
}

export const create = (i) => new Desk(i);
export const use = (desk) => desk.draft.join('\n').length;
export const dispose = (desk) => desk.close();

let library = null;
try {
  library = await import('../../node/dist/index.mjs');
} catch {
  // Not built: what needs it is skipped, and said.
}

export const monitor =
  library === null
    ? undefined
    : (options) => {
        const made = new library.MemoryMonitor(options);
        if (MUTANT === 'silent') made.charge = () => true;
        return made;
      };

export const cache =
  library === null
    ? undefined
    : () => {
        const made = new library.BoundedCache({
          ...(MUTANT === 'unbounded' ? { maxEntriesPerSession: 1_000 } : {}),
          ...(MUTANT === 'heavy' ? { maxBytes: 1 << 30 } : {}),
        });
        if (MUTANT !== 'shared') return made;
        return {
          set: (session, key, value) => made.set('all', `${session}:${key}`, value),
          get: (session, key) => made.get('all', `${session}:${key}`),
          statistics: () => made.statistics(),
        };
      };

export const pool =
  library === null
    ? undefined
    : () => {
        const made = new library.ObjectPool(() => ({ lines: [] }));
        return MUTANT === 'fresh' ? { acquire: () => ({ lines: [] }), release() {} } : made;
      };
