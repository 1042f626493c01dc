/** Values that are made when they are needed, and values that go when nobody needs them. */

/** A value made at its first use. */
export interface Lazy<T> {
  /** The value. If making it throws, the next use tries again. */
  get(): T;
  /** Whether it was made. */
  readonly isMade: boolean;
  /** Lets it go; the next use makes another. */
  reset(): void;
}

/** Makes a value at its first use. */
export function lazy<T>(make: () => T): Lazy<T> {
  let made: { readonly value: T } | null = null;
  return {
    get: () => (made ??= { value: make() }).value,
    get isMade() {
      return made !== null;
    },
    reset: () => {
      made = null;
    },
  };
}

/** A map whose values may be collected as soon as nobody else holds them; a value that went takes its entry along. */
export class WeakValueMap<K, V extends object> {
  private readonly references = new Map<K, WeakRef<V>>();
  private readonly registry = new FinalizationRegistry<{ key: K; reference: WeakRef<V> }>(({ key, reference }) => {
    // The key may have got another value since.
    if (this.references.get(key) === reference) this.references.delete(key);
  });

  /** Entries, among them those whose value went and whose finaliser has not run yet. */
  get size(): number {
    return this.references.size;
  }

  /** The value, if it is still there. */
  get(key: K): V | undefined {
    return this.references.get(key)?.deref();
  }

  /** Remembers a value without holding it. */
  set(key: K, value: V): this {
    const reference = new WeakRef(value);
    this.delete(key);
    this.references.set(key, reference);
    this.registry.register(value, { key, reference }, reference);
    return this;
  }

  /** Forgets a value. */
  delete(key: K): boolean {
    const reference = this.references.get(key);
    if (reference === undefined) return false;
    this.registry.unregister(reference);
    return this.references.delete(key);
  }
}
