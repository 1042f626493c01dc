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
  readonly value: V;
  readonly bytes: number;
  readonly setAt: number;
  /** Orders what was set in the same millisecond. */
  readonly order: number;
  used: number;
  uses: number;
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
  private readonly entries = new Map<string, Map<string, Entry<V>>>();
  private readonly maxEntries: number;
  private readonly maxBytes: number;
  private readonly policy: EvictionPolicy;
  private readonly bytesPolicy: EvictionPolicy;
  private readonly ttlMs: number;
  private readonly sizeOf: (value: V) => number;
  private readonly now: () => number;
  private bytes = 0;
  private ticks = 0;
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
  }

  /** Stores a value and makes room for it; false if it is larger than all the room there is, and then nothing is stored. */
  set(session: string, key: string, value: V): boolean {
    const bytes = this.sizeOf(value);
    if (!(bytes >= 0)) throw new TypeError(`sizeOf said ${String(bytes)} bytes`);
    // What the key held before is stale in any case.
    this.delete(session, key);
    if (bytes > this.maxBytes) return false;
    this.expire();
    const own = this.entries.get(session);
    if (own !== undefined && own.size >= this.maxEntries) this.evict([[session, own]], this.policy, 'count');
    while (this.bytes + bytes > this.maxBytes) this.evict(this.entries, this.bytesPolicy, 'bytes');
    const order = ++this.ticks;
    const entry: Entry<V> = { value, bytes, setAt: this.now(), order, used: order, uses: 0 };
    const kept = this.entries.get(session);
    if (kept === undefined) this.entries.set(session, new Map([[key, entry]]));
    else kept.set(key, entry);
    this.bytes += bytes;
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
    const own = this.entries.get(session);
    const entry = own?.get(key);
    if (own === undefined || entry === undefined) return false;
    own.delete(key);
    // A session without entries leaves nothing behind.
    if (own.size === 0) this.entries.delete(session);
    this.bytes -= entry.bytes;
    return true;
  }

  /** Forgets a session, or everything. Nothing is emitted. */
  clear(session?: string): void {
    for (const name of session === undefined ? [...this.entries.keys()] : [session]) {
      for (const key of [...(this.entries.get(name)?.keys() ?? [])]) this.delete(name, key);
    }
  }

  /** Figures so far; what has expired by now is not among the entries. */
  statistics(): CacheStatistics {
    this.expire();
    let entries = 0;
    for (const own of this.entries.values()) entries += own.size;
    const lookups = this.hits + this.misses;
    return {
      sessions: this.entries.size,
      entries,
      bytes: this.bytes,
      hits: this.hits,
      misses: this.misses,
      hitRate: lookups === 0 ? null : this.hits / lookups,
      evictions: { ...this.evictions },
    };
  }

  private living(session: string, key: string): Entry<V> | undefined {
    const entry = this.entries.get(session)?.get(key);
    if (entry === undefined || this.now() - entry.setAt < this.ttlMs) return entry;
    this.remove(session, key, entry, 'expired');
    return undefined;
  }

  // All whose time is over, the one set first before the others.
  private expire(): void {
    if (this.ttlMs === Infinity) return;
    const now = this.now();
    const over: [string, string, Entry<V>][] = [];
    for (const [session, own] of this.entries) {
      for (const [key, entry] of own) if (now - entry.setAt >= this.ttlMs) over.push([session, key, entry]);
    }
    over.sort(([, , a], [, , b]) => a.order - b.order);
    for (const entry of over) this.remove(...entry, 'expired');
  }

  // Evicts one entry of `from`. A walk over all: sessions have few entries, and sizes have no order that is kept anyway.
  private evict(from: Iterable<[string, Map<string, Entry<V>>]>, policy: EvictionPolicy, reason: EvictionReason): void {
    let worst: [string, string, Entry<V>] | undefined;
    for (const [session, own] of from) {
      for (const [key, entry] of own) {
        if (worst === undefined || goesBefore(policy, entry, worst[2])) worst = [session, key, entry];
      }
    }
    if (worst !== undefined) this.remove(...worst, reason);
  }

  private remove(session: string, key: string, entry: Entry<V>, reason: EvictionReason): void {
    this.delete(session, key);
    this.evictions[reason]++;
    const eviction: Eviction<V> = { session, key, id: cacheKey(session, key), value: entry.value, bytes: entry.bytes, reason };
    this.emit('evict', eviction);
  }
}

function goesBefore<V>(policy: EvictionPolicy, entry: Entry<V>, other: Entry<V>): boolean {
  const rank = (e: Entry<V>): number => (policy === 'lfu' ? e.uses : policy === 'largest' ? -e.bytes : policy === 'oldest' ? e.order : e.used);
  return rank(entry) === rank(other) ? entry.used < other.used : rank(entry) < rank(other);
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
