/** Heap snapshots of this isolate in a private folder, where memory allows, and the verbs of the binary that read them. */

import { spawnSync } from 'child_process';
import fs = require('fs');
import os = require('os');
import path = require('path');
import v8 = require('v8');

import { findBinary } from './binary';
import type * as Census from './census';
import { BinaryError, SnapshotError } from './errors';
import { runtime, turn } from './heap';
import { runLater } from './run';
import { size } from './verdict';

/** A snapshot costs so many times the heap (measured: 3.7), and so much whatever the heap. */
const SNAPSHOT_FACTOR = 4;
const SNAPSHOT_BYTES = 64 * 1024 * 1024;
const PATIENCE_MS = 120_000;

/** A table of `plimsoll snapshot`. */
export interface Sheet {
  readonly facts: { readonly [name: string]: unknown };
  readonly rows: readonly { readonly [column: string]: unknown }[];
  readonly notes: readonly string[];
}

/** Memory that this process may still take. */
export function availableBytes(): number {
  const available = (process as unknown as { availableMemory?: () => number }).availableMemory?.();
  if (available !== undefined) return available;
  try {
    const line = /^MemAvailable:\s+(\d+) kB$/m.exec(fs.readFileSync('/proc/meminfo', 'utf8'));
    if (line) return Number(line[1]) * 1024;
  } catch {
    // No Linux.
  }
  return os.freemem();
}

/**
 * Writes a snapshot to `file` if there is memory enough for it.
 *
 * @throws {SnapshotError} if there is not, or it cannot be written.
 */
export function writeSnapshot(file: string): string {
  if (runtime !== 'node') throw new SnapshotError(`${runtime} writes no V8 heap snapshots`);
  const heap = v8.getHeapStatistics().used_heap_size;
  const needed = heap * SNAPSHOT_FACTOR + SNAPSHOT_BYTES;
  const free = availableBytes();
  if (needed > free) {
    throw new SnapshotError(`a snapshot of ${size(heap)} of heap may need ${size(needed)}, and ${size(free)} are free`);
  }
  try {
    const written = v8.writeHeapSnapshot(file);
    // Snapshots hold whatever secrets the process holds.
    fs.chmodSync(written, 0o600);
    return written;
  } catch (error) {
    throw new SnapshotError(`a snapshot could not be written to ${file}: ${(error as Error).message}`);
  }
}

/** Runs `work` with a private folder that is gone afterwards. */
export async function inPrivateFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  let folder: string;
  try {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'plimsoll-'));
  } catch (error) {
    throw new SnapshotError(`there is no place for snapshots: ${(error as Error).message}`);
  }
  try {
    return await work(folder);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * What `plimsoll snapshot` says.
 *
 * @throws {BinaryError} if there is no binary.
 * @throws {SnapshotError} if it cannot read the snapshots.
 */
export function snapshotVerb(verb: string, ...args: readonly string[]): Sheet {
  const ran = spawnSync(findBinary(), ['snapshot', verb, ...args, '--json'], {
    encoding: 'utf8',
    timeout: PATIENCE_MS,
    maxBuffer: 64 * 1024 * 1024,
  });
  if (ran.error) throw new BinaryError('PLIMSOLL_BINARY_FAILED', `the plimsoll binary did not start: ${ran.error.message}`);
  try {
    return JSON.parse(ran.stdout) as Sheet;
  } catch {
    throw new SnapshotError(ran.stderr.trim() || `plimsoll snapshot ${verb} ended with status ${String(ran.status)}`);
  }
}

/**
 * Bytes that would go with `object`: its retained size in a snapshot, which stops this process while it is written. What others
 * hold too is not in it.
 *
 * @throws {SnapshotError} if none is taken or read.
 * @throws {BinaryError} if there is no binary.
 */
export function retainedBytes(object: object): Promise<number> {
  const binary = findBinary();
  return inPrivateFolder(async (folder) => {
    await turn();
    // Objects are numbered by the first snapshot that meets them.
    const file = writeSnapshot(path.join(folder, 'session.heapsnapshot'));
    const id = (require('./census') as typeof Census).snapshotId(object);
    const args = ['snapshot', 'query', file, '--id', String(id), '--json'];
    const { stdout, stderr } = await runLater(binary, args, { timeout: PATIENCE_MS }).ran;
    try {
      const [row] = (JSON.parse(stdout) as Sheet).rows;
      if (typeof row?.['retained'] === 'number') return row['retained'];
    } catch {
      // It said why, instead.
    }
    throw new SnapshotError(stderr.trim() || 'the snapshot does not hold the object');
  });
}

/** Why there is no explanation, where `error` is of a kind that is no fault of what is explained. */
export function gapOf(error: unknown): string {
  if (error instanceof SnapshotError || error instanceof BinaryError) return `who holds it: ${error.message.split('\n')[0]}`;
  throw error;
}
