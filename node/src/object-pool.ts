/** A pool of objects that are dear to make: so many wait at most, and none is given out twice. */

/** Bounds and care of a pool. */
export interface ObjectPoolOptions<T> {
  /** Objects that wait at most; what is released beyond is dropped. 64 by default. */
  readonly maxIdle?: number;
  /** Makes a released object fit for the next. */
  readonly reset?: (object: T) => void;
  /** Told of what the pool drops. */
  readonly drop?: (object: T) => void;
}

/** Figures of a pool. */
export interface PoolStatistics {
  readonly idle: number;
  readonly inUse: number;
  /** Most that were in use at one time. */
  readonly highWater: number;
  readonly made: number;
  readonly reused: number;
  readonly dropped: number;
}

const MAX_IDLE = 64;

/** A pool. What was acquired and forgotten becomes garbage: the pool holds only what waits in it. */
export class ObjectPool<T extends object> {
  private readonly waiting: T[] = [];
  private readonly out = new WeakSet<T>();
  private readonly maxIdle: number;
  private inUse = 0;
  private highWater = 0;
  private made = 0;
  private reused = 0;
  private dropped = 0;

  constructor(
    private readonly make: () => T,
    private readonly options: ObjectPoolOptions<T> = {},
  ) {
    this.maxIdle = options.maxIdle ?? MAX_IDLE;
    if (!(this.maxIdle >= 0)) throw new TypeError(`maxIdle is a number from 0, not ${String(this.maxIdle)}`);
  }

  /** The object released last, or a new one. */
  acquire(): T {
    let object = this.waiting.pop();
    if (object === undefined) {
      object = this.make();
      this.made++;
    } else {
      this.reused++;
    }
    this.out.add(object);
    this.highWater = Math.max(this.highWater, ++this.inUse);
    return object;
  }

  /**
   * Gives an object back. One whose `reset` throws is dropped, and the error passes through.
   *
   * @throws {Error} if it is not out: released twice, or of another pool.
   */
  release(object: T): void {
    if (!this.out.delete(object)) throw new Error('this object is not in use: it was released already, or is of another pool');
    this.inUse--;
    let isFit = false;
    try {
      this.options.reset?.(object);
      isFit = this.waiting.length < this.maxIdle;
    } finally {
      if (isFit) this.waiting.push(object);
      else {
        this.dropped++;
        this.options.drop?.(object);
      }
    }
  }

  /** Lends an object to `work` and takes it back, also when `work` throws. */
  async use<R>(work: (object: T) => R | Promise<R>): Promise<R> {
    const object = this.acquire();
    try {
      return await work(object);
    } finally {
      this.release(object);
    }
  }

  /** Drops what waits. */
  clear(): void {
    for (const object of this.waiting.splice(0)) {
      this.dropped++;
      this.options.drop?.(object);
    }
  }

  /** Figures so far; objects that were never released count as in use. */
  statistics(): PoolStatistics {
    const { inUse, highWater, made, reused, dropped } = this;
    return { idle: this.waiting.length, inUse, highWater, made, reused, dropped };
  }
}
