/**
 * Repeats an operation in growing rounds and counts after each: flat, or a record for the judge.
 *
 * The first rounds are as many as fit in 40 ms (or 12 calls): if no counter grew over the last four, the operation is
 * flat, and the least growth that would have been seen is said. Anything else goes on in rounds that double, so that
 * caches and pools have time to fill and the compiler to finish, until the judge is sure or the CPU budget is spent.
 * Nothing here says leak by itself.
 */

import { Counters, LIVE_BYTES, type Kind } from './counters';
import { BinaryError, UnsettledError } from './errors';
import { every, now, pause, runtime } from './heap';
import { ask, type Answer } from './judge';

/** One unit of work. */
export type Operation = (iteration: number) => unknown;

/** @internal How far repetition may go. CPU and not wall time: a loaded machine must not change a verdict. */
export interface Limits {
  /** CPU milliseconds of the whole measurement. */
  readonly cpuMs: number;
  /** Wall milliseconds after which no further stage is begun, and an operation that has not settled is given up. */
  readonly wallMs: number;
  /** Operations of a round; as many as fit if undefined. */
  readonly iterations: number | undefined;
  /** Growth of live bytes per operation below which nothing is a leak. */
  readonly floorBytes: number;
  /** Classes whose instances are counted. */
  readonly kinds: readonly Kind[];
}

/** @internal What repetition found. */
export interface Record {
  outcome: 'flat' | 'leak' | 'no leak' | 'inconclusive';
  reason: string;
  operations: number;
  cpuMs: number;
  /** Growth per operation that would have been noticed. */
  wouldHaveSeen: number;
  medianBytesPerOperation: number;
  answers: { [counter: string]: Answer };
  at: number[];
  readings: { [counter: string]: number[] };
  gaps: string[];
}

/** Bytes over the last rounds that are level whatever the number of operations. */
const LEVEL_BYTES = 64;
const LAST = 4;
const FIRST_ROUNDS = 8;
const ROUNDS_A_STAGE = 4;
const WARM_UP = 3;
/** Of a question to the judge: V8 gives a function its feedback some calls after the first. */
const REHEARSALS = 3;
const IDLE_MS = 60;
const IDLE_PAUSES = 5;
const FLAT_CPU_MS = 40;
const FLAT_OPERATIONS = 12;
const MOST_FIRST = 250;
/** A leak verdict waits for so many operations, or for so much CPU: what fills looks like a leak until it is full. */
const PATIENT_OPERATIONS = 16_000;
const PATIENT_CPU_MS = 300;
/** Operations of an explanation window are as many as fit in so much. */
const WINDOW_CPU_MS = 100;
const MEMORY_BYTES = 256 * 1024 * 1024;

class Stop extends Error {}

/** @internal One measurement of one operation. Exceptions of the operation pass through. */
export class Rounds {
  private readonly counters: Counters;
  private done = 0;
  // CPU of the operations alone: how much a reading costs is no reason to be less patient.
  private operationsCpu = 0;
  private looks = 0;
  private isAsync = false;
  private readonly cpuBegin = cpuMs();
  private readonly wallBegin = now();
  private readonly rssBegin = process.memoryUsage().rss;
  private giveUp: ((error: Error) => void) | null = null;
  private lastDone = -1;

  constructor(
    private readonly operation: Operation,
    private readonly limits: Limits,
  ) {
    this.counters = new Counters(limits.kinds, limits.floorBytes);
  }

  /** Repeats the operation and says what became of this isolate's counters. */
  async measure(): Promise<Record> {
    const counters = this.counters;
    const found = await this.watched(() => this.run());
    const readings: { [counter: string]: number[] } = {};
    counters.names.forEach((name, index) => (readings[name] = counters.column(index)));
    return {
      reason: '',
      wouldHaveSeen: this.wouldHaveSeen(),
      answers: {},
      ...found,
      operations: this.done,
      cpuMs: cpuMs() - this.cpuBegin,
      medianBytesPerOperation: counters.medianBytesPerOperation(),
      at: counters.allOperations(),
      readings,
      gaps: counters.gaps,
    };
  }

  /** A window for an explanation: more operations, and how many they are. */
  window(): { operations: number; run: () => Promise<void> } {
    const perOperation = this.operationsCpu / Math.max(this.done, 1);
    const operations = this.limits.iterations ?? Math.min(Math.max(Math.floor(WINDOW_CPU_MS / (perOperation + 1e-3)), 10), 1000);
    return { operations, run: () => this.watched(() => this.repeat(operations)) };
  }

  /**
   * Runs `work` under a watch: an operation that never settles ends it. One timer for all, because a race of promises
   * would leave a reaction behind with every operation.
   */
  private async watched<T>(work: () => Promise<T>): Promise<T> {
    const patience = this.limits.wallMs;
    const watch = every(patience, () => {
      if (this.lastDone === this.done) this.giveUp?.(new UnsettledError(patience));
      this.lastDone = this.done;
    });
    try {
      return await work();
    } finally {
      watch.end();
    }
  }

  private async run(): Promise<Found> {
    let cost = Infinity;
    for (let call = 0; call < WARM_UP; call++) {
      const begun = cpuMs();
      await this.first();
      cost = Math.min(cost, cpuMs() - begun);
    }
    const fits = Math.floor(FLAT_CPU_MS / (cost + 1e-3) / FIRST_ROUNDS);
    const size = this.limits.iterations ?? Math.min(Math.max(fits, 1), MOST_FIRST);
    const rounds = size > 1 ? FIRST_ROUNDS : Math.max(FLAT_OPERATIONS - this.done, LAST + 1);
    try {
      // Twice: the first has what reading itself makes once.
      for (let time = 0; time < 2; time++) await this.counters.read(this.done);
      this.counters.restart(1);
      for (let round = 0; round < rounds; round++) await this.round(size);
      // Bun's heap is not exact: a few rounds may look level though they grow.
      const isLevel = runtime !== 'bun' && this.growing(LAST + 1).length === 0;
      return isLevel ? { outcome: 'flat' } : await this.goOn();
    } catch (error) {
      if (!(error instanceof Stop)) throw error;
      await this.counters.read(this.done);
      const found = this.judged(0);
      return { ...found, reason: found.reason ? `${error.message}; ${found.reason}` : error.message };
    }
  }

  // One call, which also tells whether the operation is asynchronous.
  private async first(): Promise<void> {
    const returned = this.operation(this.done++);
    if (isThenable(returned)) {
      this.isAsync = true;
      await this.settled(returned);
    }
  }

  // More than doubles what was done until the judge is sure.
  private async goOn(): Promise<Found> {
    const { counters, limits } = this;
    this.rehearse();
    const idle = await this.idle();
    // What came before is warm-up: the compiler's work on the first rounds looks like growth that slows down.
    counters.restart(1);
    let provisional: Found | null = null;
    for (let size = this.stage(); ; ) {
      for (let round = 0; round < ROUNDS_A_STAGE; round++) await this.round(size);
      const spent = cpuMs() - this.cpuBegin;
      const perOperation = Math.max(this.operationsCpu / Math.max(this.done, 1), 1e-4);
      const affordable = Math.floor((limits.cpuMs - spent) / perOperation / ROUNDS_A_STAGE) + 1;
      const patient = this.done >= PATIENT_OPERATIONS || this.operationsCpu >= PATIENT_CPU_MS;
      const isLevel = this.growing().length === 0 && (runtime !== 'bun' || patient);
      if (isLevel) return { outcome: 'flat', reason: 'it grew at first, then stopped' };
      const out =
        spent >= limits.cpuMs ||
        affordable < size ||
        !counters.hasRoom(ROUNDS_A_STAGE + 1) ||
        now() - this.wallBegin > limits.wallMs;
      if (patient || out) {
        const found = this.judged(idle);
        if (found.outcome === 'leak') {
          // One jump can look like a leak to whoever looks once; a leak grows in the next stage too, even past the budget.
          if (provisional !== null) return this.confirmed(found);
          provisional = found;
        } else if (found.outcome === 'no leak' || out || found.isMissing === true) {
          return found;
        }
      }
      // Or ends where the budget does; a stage shorter than the last would look level for no other reason than that little
      // was done in it.
      size = Math.max(Math.min(this.stage(), affordable), size);
    }
  }

  // The first questions to the judge leave some 40 kB behind, of what it takes to start a program and to read its answer: before
  // anything counts.
  private rehearse(): void {
    for (let time = 0; time < REHEARSALS; time++) this.judged(0);
    this.looks = 0;
  }

  // A leak whose last stage grew as its interval says, or what else it is.
  private confirmed(found: Found): Found {
    const live = found.answers?.['live_bytes'];
    if (live?.verdict !== 'leak' || live.low === null) return found;
    const { grown, operations } = this.counters.growth(LIVE_BYTES, ROUNDS_A_STAGE);
    if (grown / operations >= live.low / 2) return found;
    return { ...found, outcome: 'inconclusive', reason: 'growth all but stopped in the last rounds' };
  }

  /**
   * Operations of a round of the next stage. All its rounds are more than everything before: what keeps numbers in a set or an
   * array grows only when that doubles, and so grows within every stage.
   */
  private stage(): number {
    return this.limits.iterations ?? Math.ceil((this.done + 8) / ROUNDS_A_STAGE);
  }

  // A round, in pieces small enough for the guard to see in time.
  private async round(size: number): Promise<void> {
    const piece = Math.max(size >> 3, 1);
    for (let left = size; left > 0; left -= piece) {
      await this.repeat(Math.min(piece, left));
      if (process.memoryUsage().rss - this.rssBegin > MEMORY_BYTES) {
        throw new Stop(`repetition stopped: it had added ${MEMORY_BYTES >> 20} MiB`);
      }
    }
    await this.counters.read(this.done);
  }

  private async repeat(count: number): Promise<void> {
    const operation = this.operation;
    const begun = cpuMs();
    const end = this.done + count;
    if (this.isAsync) {
      while (this.done < end) {
        const returned = operation(this.done++);
        if (isThenable(returned)) await this.settled(returned);
      }
    } else {
      while (this.done < end) operation(this.done++);
    }
    this.operationsCpu += cpuMs() - begun;
  }

  private settled(returned: PromiseLike<unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.giveUp = reject;
      returned.then(resolve, reject);
    });
  }

  private growing(rounds = LAST): number[] {
    return this.counters.growing(rounds, LEVEL_BYTES);
  }

  // Bytes per operation that the last rounds would have shown.
  private wouldHaveSeen(): number {
    const { operations } = this.counters.growth(LIVE_BYTES, LAST);
    return Math.max(LEVEL_BYTES / Math.max(operations, 1), this.limits.floorBytes);
  }

  // Bytes per operation that grow without operations: what else lives in this process goes by the clock.
  private async idle(): Promise<number> {
    const { counters } = this;
    const { operations } = counters.growth(LIVE_BYTES, LAST);
    const wall = Math.min((now() - this.wallBegin) / 4, IDLE_MS);
    let least = Infinity;
    // The least of several counts: the first ones have what pausing itself makes once.
    for (let time = 0; time < IDLE_PAUSES && least > LEVEL_BYTES; time++) {
      await pause(wall);
      await counters.read(this.done);
      least = Math.min(least, counters.growth(LIVE_BYTES, 1).grown);
    }
    return least > LEVEL_BYTES && operations > 0 ? (2 * least) / operations : 0;
  }

  private judged(idle: number): Found {
    const { counters } = this;
    const growing = this.growing();
    const asked = growing.length > 0 ? growing : [LIVE_BYTES];
    const operations = counters.allOperations();
    this.looks++;
    let said: Answer[];
    try {
      said = ask(
        asked.map((counter) => ({
          metric: counters.names[counter] as string,
          quantity: counters.quantity(counter),
          operations,
          values: counters.column(counter),
          alpha: 0.01 / asked.length,
          look: this.looks,
          ...(counter === LIVE_BYTES ? { floor: this.limits.floorBytes, idleGrowthPerOp: idle } : {}),
        })),
      );
    } catch (error) {
      // Something grows, and nobody can say what that means: more repetitions would not either.
      if (error instanceof BinaryError) return { outcome: 'inconclusive', reason: error.message, isMissing: true };
      throw error;
    }
    const answers: { [counter: string]: Answer } = {};
    said.forEach((answer, index) => (answers[counters.names[asked[index] as number] as string] = answer));
    if (said.some((answer) => answer.verdict === 'leak')) return { outcome: 'leak', answers };
    const unsure = said.find((answer) => answer.verdict !== 'no_leak');
    return unsure === undefined
      ? { outcome: 'no leak', answers }
      : { outcome: 'inconclusive', answers, reason: unsure.reason };
  }
}

type Found = Pick<Record, 'outcome'> & Partial<Pick<Record, 'reason' | 'answers'>> & { isMissing?: boolean };

function cpuMs(): number {
  const usage = process.cpuUsage();
  return (usage.user + usage.system) / 1000;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === 'function';
}
