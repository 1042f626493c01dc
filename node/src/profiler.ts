/**
 * What a piece of work leaves on the heap: snapshots before and after, compared by the heap engine of the binary, and a
 * sampled profile of who allocates. The files open in DevTools and in `plimsoll snapshot browse`.
 */

import type ChildProcess = require('child_process');
import fs = require('fs');
import type Inspector = require('inspector');
import path = require('path');

import { findBinary } from './binary';
import { BinaryError, SnapshotError } from './errors';
import { collector, liveBytes, now, runtime } from './heap';
import type * as Snapshot from './snapshot';

// Loaded when it is asked for: most who import the package profile nothing.
const engine = (): typeof Snapshot => require('./snapshot') as typeof Snapshot;

/** How a profiler works. */
export interface ProfilerOptions {
  /** Folder of its files, made when the first is written. `heap-profiles` by default. */
  readonly outputDir?: string;
  /** Whether snapshots are taken. They stop the program for about a second per 100 MB. */
  readonly snapshots?: boolean;
  /** Bytes between two samples of the allocation profile; 512 KiB by default, which costs next to nothing. 0 for none. */
  readonly samplingBytes?: number;
}

/** Objects of one class, before and after. */
export interface ClassChange {
  readonly name: string;
  readonly created: number;
  readonly gone: number;
  /** More objects (or fewer) than before. */
  readonly count: number;
  /** More bytes (or fewer) than before. */
  readonly bytes: number;
  /** Where the class is defined, empty if that is not known. */
  readonly place: string;
}

/** Two snapshots compared. */
export interface Comparison {
  /** Bytes of the whole heap in each. */
  readonly before: number;
  readonly after: number;
  /** What changed, the largest growth first; 25 classes at most. */
  readonly classes: readonly ClassChange[];
}

/** What one operation did. */
export interface OperationProfile<T> {
  readonly label: string;
  /** What the operation returned. */
  readonly value: T;
  readonly milliseconds: number;
  /** Live bytes after forced collections, before and after it; NaN where nothing can be collected. */
  readonly liveBytesBefore: number;
  readonly liveBytesAfter: number;
  /** Snapshots before and after it, as far as they were taken. */
  readonly snapshots: readonly string[];
  /** Their comparison; null where there are not two, or no binary. */
  readonly comparison: Comparison | null;
  /** What is missing, and why. */
  readonly gaps: readonly string[];
}

/** A function and the bytes that are alive of what it allocated, by samples. */
export interface Allocator {
  readonly name: string;
  readonly place: string;
  readonly bytes: number;
}

/** What a profiler found from its start to its stop. */
export interface Profile {
  readonly milliseconds: number;
  readonly liveBytesBefore: number;
  readonly liveBytesAfter: number;
  readonly operations: readonly OperationProfile<unknown>[];
  /** Who allocated what is alive and was allocated meanwhile, the most bytes first. An estimate from samples. */
  readonly allocators: readonly Allocator[];
  /** The sampled profile for DevTools; null without samples. */
  readonly profileFile: string | null;
  readonly snapshots: readonly string[];
  /** From the first snapshot to the last. */
  readonly comparison: Comparison | null;
  readonly gaps: readonly string[];
}

const OUTPUT = 'heap-profiles';
const SAMPLING_BYTES = 512 * 1024;
const MOST_ALLOCATORS = 20;

interface Running {
  readonly begun: number;
  readonly live: number;
  readonly session: Inspector.Session | null;
  readonly snapshots: string[];
  readonly operations: OperationProfile<unknown>[];
  readonly gaps: string[];
}

interface SampledNode {
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly selfSize: number;
  readonly children: readonly SampledNode[];
}

/** Takes snapshots around operations and compares them. */
export class MemoryProfiler {
  private readonly outputDir: string;
  private readonly takesSnapshots: boolean;
  private readonly samplingBytes: number;
  private running: Running | null = null;
  private isBusy = false;
  private files = 0;

  constructor(options: ProfilerOptions = {}) {
    const known = ['outputDir', 'snapshots', 'samplingBytes'];
    const unknown = Object.keys(options).find((key) => !known.includes(key));
    if (unknown !== undefined) throw new TypeError(`a profiler has no option \`${unknown}\`; there are: ${known.join(', ')}`);
    this.outputDir = path.resolve(options.outputDir ?? OUTPUT);
    this.takesSnapshots = options.snapshots ?? true;
    this.samplingBytes = options.samplingBytes ?? SAMPLING_BYTES;
    if (!(this.samplingBytes >= 0)) throw new TypeError(`samplingBytes is a number of bytes, or 0, not ${String(this.samplingBytes)}`);
  }

  /** Whether it was started and not yet stopped. */
  get isProfiling(): boolean {
    return this.running !== null;
  }

  /** Reads live bytes, takes the first snapshot, and begins to sample who allocates. */
  async startProfiling(): Promise<void> {
    if (this.running !== null || this.isBusy) throw new Error('the profiler is started already: stop it first');
    await this.alone(async () => {
      const gaps: string[] = [];
      const live = await readLive(gaps);
      const snapshots = this.snapshotInto([], 'start', gaps);
      const session = this.samplingBytes > 0 ? sampling(this.samplingBytes, gaps) : null;
      this.running = { begun: now(), live, session, snapshots, operations: [], gaps };
    });
  }

  /**
   * Runs `operation`, which may be async, between two snapshots, and says what it left. What it throws passes through.
   */
  async profileDuringOperation<T>(operation: () => T | Promise<T>, label = operation.name || 'operation'): Promise<OperationProfile<T>> {
    const running = this.required();
    return this.alone(async () => {
      const gaps: string[] = [];
      const liveBytesBefore = await readLive(gaps);
      const snapshots = this.snapshotInto([], `${label}-before`, gaps);
      const begun = now();
      const value = await operation();
      const milliseconds = now() - begun;
      const liveBytesAfter = await readLive(gaps);
      this.snapshotInto(snapshots, `${label}-after`, gaps);
      const comparison = compared(snapshots, gaps);
      const profile = { label, value, milliseconds, liveBytesBefore, liveBytesAfter, snapshots, comparison, gaps: unique(gaps) };
      // Without the value: keeping it would be a leak of our own making.
      running.operations.push({ ...profile, value: undefined });
      running.snapshots.push(...snapshots);
      return profile;
    });
  }

  /** Takes the last snapshot and says what changed since the start. Nothing of the profiler stays in the process. */
  async stopProfiling(): Promise<Profile> {
    const running = this.required();
    return this.alone(async () => {
      this.running = null;
      const { operations, snapshots, gaps, session } = running;
      const liveBytesAfter = await readLive(gaps);
      const [first] = snapshots;
      const last = this.snapshotInto([], 'stop', gaps);
      // After the last snapshot: V8 numbers all objects anew when a session leaves, and snapshots are compared by number.
      const { allocators, profileFile } = this.sampled(session, gaps);
      const comparison = first === undefined ? null : compared([first, ...last], gaps);
      return {
        milliseconds: now() - running.begun,
        liveBytesBefore: running.live,
        liveBytesAfter,
        operations,
        allocators,
        profileFile,
        snapshots: [...snapshots, ...last],
        comparison,
        gaps: unique(gaps),
      };
    });
  }

  /**
   * Writes a snapshot, if there is memory for it, and returns its path.
   *
   * @throws {SnapshotError} if there is not, or it cannot be written.
   */
  takeSnapshot(label = 'snapshot'): string {
    try {
      fs.mkdirSync(this.outputDir, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new SnapshotError(`there is no place for snapshots: ${(error as Error).message}`);
    }
    return engine().writeSnapshot(this.fileFor(label, 'heapsnapshot'));
  }

  /**
   * What came and went between two snapshots.
   *
   * @throws {BinaryError} without the binary.
   * @throws {SnapshotError} if they cannot be read.
   */
  compare(before: string, after: string): Comparison {
    return compareSnapshots(before, after);
  }

  /** Opens a snapshot to look around in, on this terminal, until it is left. */
  browse(snapshot: string): void {
    const { spawnSync } = require('child_process') as typeof ChildProcess;
    const { error } = spawnSync(findBinary(), ['snapshot', 'browse', snapshot], { stdio: 'inherit' });
    if (error) throw new BinaryError('PLIMSOLL_BINARY_FAILED', `the plimsoll binary did not start: ${error.message}`);
  }

  private required(): Running {
    if (this.running === null) throw new Error('the profiler is not started: call startProfiling() first');
    return this.running;
  }

  // One thing at a time: what two do at once is in the snapshots of both.
  private async alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.isBusy) throw new Error('the profiler is busy with another operation: await it first');
    this.isBusy = true;
    try {
      return await work();
    } finally {
      this.isBusy = false;
    }
  }

  private snapshotInto(files: string[], label: string, gaps: string[]): string[] {
    if (!this.takesSnapshots) return files;
    try {
      files.push(this.takeSnapshot(label));
    } catch (error) {
      if (!(error instanceof SnapshotError)) throw error;
      gaps.push(`snapshot: ${error.message}`);
    }
    return files;
  }

  // Numbered, so that files sort by time; a label becomes what every file system takes.
  private fileFor(label: string, extension: string): string {
    this.files += 1;
    const number = String(this.files).padStart(3, '0');
    const name = label.replace(/[^\w.-]+/g, '-').slice(0, 60);
    return path.join(this.outputDir, `${process.pid}-${number}-${name}.${extension}`);
  }

  private sampled(session: Inspector.Session | null, gaps: string[]): { allocators: Allocator[]; profileFile: string | null } {
    if (session === null) return { allocators: [], profileFile: null };
    let profile: { readonly head: SampledNode } | null = null;
    session.post('HeapProfiler.stopSampling', (error: Error | null, answer?: { profile: { head: SampledNode } }) => {
      if (error === null && answer !== undefined) profile = answer.profile;
    });
    session.disconnect();
    if (profile === null) {
      gaps.push('allocations: the inspector did not answer');
      return { allocators: [], profileFile: null };
    }
    const allocators = allocatorsOf((profile as { head: SampledNode }).head);
    try {
      fs.mkdirSync(this.outputDir, { recursive: true, mode: 0o700 });
      const profileFile = this.fileFor('allocations', 'heapprofile');
      fs.writeFileSync(profileFile, JSON.stringify(profile), { mode: 0o600 });
      return { allocators, profileFile };
    } catch (error) {
      gaps.push(`allocations: ${(error as Error).message}`);
      return { allocators, profileFile: null };
    }
  }
}

function compareSnapshots(before: string, after: string): Comparison {
  const { facts, rows } = engine().snapshotVerb('diff', before, after);
  const figure = (value: unknown): number => (typeof value === 'number' ? value : 0);
  const text = (value: unknown): string => (typeof value === 'string' ? value : '');
  return {
    before: figure(facts['before']),
    after: figure(facts['after']),
    classes: rows.map((row) => ({
      name: text(row['class']),
      created: figure(row['new']),
      gone: figure(row['gone']),
      count: figure(row['count']),
      bytes: figure(row['bytes']),
      place: text(row['place']),
    })),
  };
}

/** The first and the last of `snapshots` compared, or why not. */
function compared(snapshots: readonly string[], gaps: string[]): Comparison | null {
  const [before, after] = [snapshots[0], snapshots[snapshots.length - 1]];
  if (before === undefined || after === undefined || snapshots.length < 2) return null;
  try {
    return compareSnapshots(before, after);
  } catch (error) {
    if (!(error instanceof SnapshotError || error instanceof BinaryError)) throw error;
    gaps.push(`comparison: ${error.message.split('\n')[0]}`);
    return null;
  }
}

/** A session that samples allocations, or null and why not. */
function sampling(samplingInterval: number, gaps: string[]): Inspector.Session | null {
  try {
    const { Session } = require('inspector') as typeof Inspector;
    const session = new Session();
    session.connect();
    let failure: Error | null = new Error('the inspector did not answer');
    session.post('HeapProfiler.startSampling', { samplingInterval }, (error: Error | null) => (failure = error));
    if (failure === null) return session;
    session.disconnect();
    throw failure;
  } catch (error) {
    gaps.push(`allocations: ${(error as Error).message}`);
    return null;
  }
}

/** Functions by the bytes alive of theirs. What the runtime allocates counts for the function that called it. */
function allocatorsOf(head: SampledNode): Allocator[] {
  const found = new Map<string, Allocator>();
  const open: { node: SampledNode; by: Allocator | null }[] = [{ node: head, by: null }];
  for (let entry = open.pop(); entry !== undefined; entry = open.pop()) {
    const { callFrame, selfSize, children } = entry.node;
    const isProgram = callFrame.url !== '' && !callFrame.url.startsWith('node:');
    const by = isProgram
      ? { name: callFrame.functionName || 'anonymous', place: `${callFrame.url.replace('file://', '')}:${callFrame.lineNumber + 1}`, bytes: 0 }
      : entry.by;
    if (by !== null && selfSize > 0) {
      const key = `${by.name} ${by.place}`;
      found.set(key, { ...by, bytes: (found.get(key)?.bytes ?? 0) + selfSize });
    }
    for (const node of children) open.push({ node, by });
  }
  return [...found.values()].sort((a, b) => b.bytes - a.bytes).slice(0, MOST_ALLOCATORS);
}

const unique = (texts: readonly string[]): string[] => [...new Set(texts)];

/** Live bytes, or NaN and why not. */
async function readLive(gaps: string[]): Promise<number> {
  if (collector() !== null) return liveBytes();
  gaps.push(`live bytes: this ${runtime} does not let its collector be called`);
  return NaN;
}
