/**
 * A cache that cannot leak: so many entries per session, so many bytes in all. Sessions cannot read or evict each other's entries
 * by count; by bytes they share one budget. Its behaviour is fixed by vectors in `testdata`.
 */

import { EventEmitter } from 'events';

import { sizeOf } from './size-of';

/** Which entry goes. Ties go to the least recently used. */
export type EvictionPolicy =
  /** Least recently used. */
  | 'lru'
  /** Least frequently used since it was set. */
  | 'lfu'
  /** Set first. */
  | 'oldest'
  | 'largest';

/** Bounds of a cache; what is left out is the default. */
export interface BoundedCacheOptions<V> {
  /** Entries of each session: 20. */
  readonly maxEntriesPerSession?: number;
  /** Bytes of all: 5 MiB. */
  readonly maxBytes?: number;
  /** Who goes when a session has too many entries: `lru`. */
  readonly policy?: EvictionPolicy;
  /** Who goes, of all sessions, when there are too many bytes: `largest`. */
  readonly bytesPolicy?: EvictionPolicy;
  /** Milliseconds after which an entry is gone; none by default. */
  readonly ttlMs?: number;
  /** Bytes of a value; by default its estimate, `sizeOf`. */
  readonly sizeOf?: (value: V) => number;
  /** Milliseconds, for tests. */
  readonly now?: () => number;
}

/** Why an entry went. */
export type EvictionReason = 'count' | 'bytes' | 'expired';

/** What `evict` listeners get. */
export interface Eviction<V> {
  readonly session: string;
  readonly key: string;
  /** `session:key`, see `cacheKey`. */
  readonly id: string;
  readonly value: V;
  readonly bytes: number;
  readonly reason: EvictionReason;
}

/** Figures since the cache was made. */
export interface CacheStatistics {
  readonly sessions: number;
  readonly entries: number;
  readonly bytes: number;
  readonly hits: number;
  readonly misses: number;
  /** Hits over lookups, 0 to 1; null before the first. */
  readonly hitRate: number | null;
  readonly evictions: { readonly [reason in EvictionReason]: number };
}

interface Entry<V> {
  readonly session: string;
  readonly key: string;
  /** Undefined when it is gone: what waits in line must not keep it. */
  value: V | undefined;
  readonly bytes: number;
  readonly setAt: number;
  /** Orders what was set in the same millisecond. */
  readonly order: number;
  used: number;
  uses: number;
  isGone: boolean;
}

interface Session<V> {
  readonly entries: Map<string, Entry<V>>;
  /** Whose turn it is; from the first entry on that was one too many. */
  turns?: Turns<V>;
}

/** An entry as it stood when it was put in line. */
interface Turn<V> {
  readonly entry: Entry<V>;
  readonly rank: number;
  readonly used: number;
}

/** What is gone may wait in line for so long as there are no more of it than of what is there, and of these. */
const GONE = 32;

/**
 * Entries in the order in which they go: a binary heap. Use moves an entry back and never forward, so that reading a cache needs
 * no move here: who has been used since is put in line again when its turn comes. Every step takes O(log n), amortised.
 */
class Turns<V> {
  private line: Turn<V>[] = [];
  private gone = 0;

  constructor(
    private readonly policy: EvictionPolicy,
    entries: Iterable<Entry<V>> = [],
  ) {
    for (const entry of entries) this.add(entry);
  }

  add(entry: Entry<V>): void {
    this.rise({ entry, rank: rankOf(this.policy, entry), used: entry.used });
  }

  /** One of those in line is gone. */
  forget(): void {
    if (2 * ++this.gone <= this.line.length + GONE) return;
    const left = this.line.filter(({ entry }) => !entry.isGone);
    this.line = [];
    this.gone = 0;
    for (const turn of left) this.rise(turn);
  }

  /** Who goes next; it stays in line. */
  first(): Entry<V> | undefined {
    for (let top = this.line[0]; top !== undefined; top = this.line[0]) {
      const { entry, used } = top;
      if (!entry.isGone && entry.used === used) return entry;
      this.drop();
      if (entry.isGone) this.gone--;
      else this.add(entry);
    }
    return undefined;
  }

  private rise(turn: Turn<V>): void {
    const { line } = this;
    let at = line.push(turn) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!goesBefore(turn, line[above]!)) break;
      line[at] = line[above]!;
      at = above;
    }
    line[at] = turn;
  }

  private drop(): void {
    const { line } = this;
    const last = line.pop();
    if (last === undefined || line.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= line.length) break;
      if (below + 1 < line.length && goesBefore(line[below + 1]!, line[below]!)) below++;
      if (!goesBefore(line[below]!, last)) break;
      line[at] = line[below]!;
      at = below;
    }
    line[at] = last;
  }
}

const ENTRIES = 20;
const BYTES = 5 * 1024 * 1024;

/**
 * `session:key`. Colons and backslashes of the session are escaped by a backslash, so that the first bare colon ends it and two
 * different pairs never have one form.
 */
export function cacheKey(session: string, key: string): string {
  return `${session.replace(/[\\:]/g, '\\$&')}:${key}`;
}

/** A cache with bounds. Emits `evict` with an `Eviction`. */
export class BoundedCache<V> extends EventEmitter {
  private readonly sessions = new Map<string, Session<V>>();
  /** Whose turn it is among all, by bytes; from the first entry on that was too large. */
  private byBytes: Turns<V> | undefined;
  /** Whose time is over next. */
  private readonly byAge: Turns<V> | undefined;
  private readonly maxEntries: number;
  private readonly maxBytes: number;
  private readonly policy: EvictionPolicy;
  private readonly bytesPolicy: EvictionPolicy;
  private readonly ttlMs: number;
  private readonly sizeOf: (value: V) => number;
  private readonly now: () => number;
  private bytes = 0;
  private count = 0;
  private ticks = 0;
  private lastSetAt = -Infinity;
  private hits = 0;
  private misses = 0;
  private readonly evictions = { count: 0, bytes: 0, expired: 0 };

  constructor(options: BoundedCacheOptions<V> = {}) {
    super();
    this.maxEntries = positive('maxEntriesPerSession', options.maxEntriesPerSession ?? ENTRIES);
    this.maxBytes = positive('maxBytes', options.maxBytes ?? BYTES);
    this.ttlMs = positive('ttlMs', options.ttlMs ?? Infinity);
    this.policy = known(options.policy ?? 'lru');
    this.bytesPolicy = known(options.bytesPolicy ?? 'largest');
    this.sizeOf = options.sizeOf ?? ((value) => sizeOf(value).bytes);
    this.now = options.now ?? Date.now;
    if (this.ttlMs !== Infinity) this.byAge = new Turns('oldest');
  }

  /** Stores a value and makes room for it; false if it is larger than all the room there is, and then nothing is stored. */
  set(session: string, key: string, value: V): boolean {
    const bytes = this.sizeOf(value);
    if (!(bytes >= 0)) throw new TypeError(`sizeOf said ${String(bytes)} bytes`);
    // What the key held before is stale in any case.
    this.delete(session, key);
    if (bytes > this.maxBytes) return false;
    this.expire();
    const full = this.sessions.get(session);
    if (full !== undefined && full.entries.size >= this.maxEntries) {
      full.turns ??= new Turns(this.policy, full.entries.values());
      this.evict(full.turns, 'count');
    }
    while (this.bytes + bytes > this.maxBytes) this.evict((this.byBytes ??= new Turns(this.bytesPolicy, this.all())), 'bytes');
    const order = ++this.ticks;
    // A clock that is put back must not keep what is older for longer than what is newer.
    this.lastSetAt = Math.max(this.lastSetAt, this.now());
    const entry: Entry<V> = { session, key, value, bytes, setAt: this.lastSetAt, order, used: order, uses: 0, isGone: false };
    let own = this.sessions.get(session);
    if (own === undefined) this.sessions.set(session, (own = { entries: new Map() }));
    own.entries.set(key, entry);
    for (const turns of [own.turns, this.byBytes, this.byAge]) turns?.add(entry);
    this.bytes += bytes;
    this.count++;
    return true;
  }

  /** The value, which counts as a use; undefined if there is none. */
  get(session: string, key: string): V | undefined {
    const entry = this.living(session, key);
    if (entry === undefined) {
      this.misses++;
      return undefined;
    }
    this.hits++;
    entry.used = ++this.ticks;
    entry.uses++;
    return entry.value;
  }

  /** Whether there is a value; no use, no hit and no miss. */
  has(session: string, key: string): boolean {
    return this.living(session, key) !== undefined;
  }

  /** Removes a value; whether there was one. Nothing is emitted. */
  delete(session: string, key: string): boolean {
    const own = this.sessions.get(session);
    const entry = own?.entries.get(key);
    if (own === undefined || entry === undefined) return false;
    own.entries.delete(key);
    entry.isGone = true;
    entry.value = undefined;
    for (const turns of [own.turns, this.byBytes, this.byAge]) turns?.forget();
    // A session without entries leaves nothing behind.
    if (own.entries.size === 0) this.sessions.delete(session);
    this.count--;
    // Sizes may be broken numbers, whose sum and difference need not agree to the last place.
    this.bytes = this.count === 0 ? 0 : this.bytes - entry.bytes;
    return true;
  }

  /** Forgets a session, or everything. Nothing is emitted. */
  clear(session?: string): void {
    for (const name of session === undefined ? [...this.sessions.keys()] : [session]) {
      for (const key of [...(this.sessions.get(name)?.entries.keys() ?? [])]) this.delete(name, key);
    }
  }

  /** Figures so far; what has expired by now is not among the entries. */
  statistics(): CacheStatistics {
    this.expire();
    const lookups = this.hits + this.misses;
    return {
      sessions: this.sessions.size,
      entries: this.count,
      bytes: this.bytes,
      hits: this.hits,
      misses: this.misses,
      hitRate: lookups === 0 ? null : this.hits / lookups,
      evictions: { ...this.evictions },
    };
  }

  private living(session: string, key: string): Entry<V> | undefined {
    const entry = this.sessions.get(session)?.entries.get(key);
    if (entry === undefined || !this.isOver(entry)) return entry;
    this.remove(entry, 'expired');
    return undefined;
  }

  private isOver(entry: Entry<V>): boolean {
    return this.ttlMs !== Infinity && this.now() - entry.setAt >= this.ttlMs;
  }

  private *all(): Iterable<Entry<V>> {
    for (const { entries } of this.sessions.values()) yield* entries.values();
  }

  // All whose time is over, the one set first before the others.
  private expire(): void {
    for (let oldest = this.byAge?.first(); oldest !== undefined && this.isOver(oldest); oldest = this.byAge?.first()) {
      this.remove(oldest, 'expired');
    }
  }

  private evict(turns: Turns<V>, reason: EvictionReason): void {
    const worst = turns.first();
    if (worst !== undefined) this.remove(worst, reason);
  }

  private remove(entry: Entry<V>, reason: EvictionReason): void {
    const { session, key, bytes } = entry;
    const value = entry.value as V;
    this.delete(session, key);
    this.evictions[reason]++;
    if (this.listenerCount('evict') === 0) return;
    const eviction: Eviction<V> = { session, key, id: cacheKey(session, key), value, bytes, reason };
    this.emit('evict', eviction);
  }
}

/** The entry with the least goes. */
function rankOf<V>(policy: EvictionPolicy, entry: Entry<V>): number {
  return policy === 'lfu' ? entry.uses : policy === 'largest' ? -entry.bytes : policy === 'oldest' ? entry.order : entry.used;
}

function goesBefore<V>(turn: Turn<V>, other: Turn<V>): boolean {
  return turn.rank === other.rank ? turn.used < other.used : turn.rank < other.rank;
}

function positive(name: string, value: number): number {
  if (!(value > 0)) throw new TypeError(`${name} is a number above 0, not ${String(value)}`);
  return value;
}

function known(policy: EvictionPolicy): EvictionPolicy {
  const policies = ['lru', 'lfu', 'oldest', 'largest'];
  if (!policies.includes(policy)) throw new TypeError(`there is no policy ${JSON.stringify(policy)}; there are: ${policies.join(', ')}`);
  return policy;
}
