/** Measures an operation in this isolate. */

import type { Kind } from './counters';
import { explain } from './culprit';
import { RuntimeError } from './errors';
import { collector, quietCompilers, runtime } from './heap';
import { Rounds, type Operation } from './rounds';
import { ofRecord, type Verdict } from './verdict';

/** Everything that says how to measure; nothing is left to a default. */
export interface Settings {
  readonly iterations: number | undefined;
  readonly floorBytes: number;
  readonly cpuMs: number;
  readonly timeoutMs: number;
  readonly explain: boolean;
}

/**
 * Repeats `operation` and gives the verdict. Exceptions of the operation pass through.
 *
 * @throws {RuntimeError} before Node 20.
 */
export async function checkHere(operation: Operation, settings: Settings, kinds: readonly Kind[]): Promise<Verdict> {
  const major = Number(process.versions.node.split('.')[0]);
  if (runtime === 'node' && major < 20) throw new RuntimeError(`leak tests need Node 20 or newer; this is ${process.version}`);
  if (collector() === null) return unknown(`this ${runtime} does not let its collector be called`);
  const restore = quietCompilers();
  try {
    return await judged(operation, settings, kinds);
  } finally {
    restore();
  }
}

async function judged(operation: Operation, settings: Settings, kinds: readonly Kind[]): Promise<Verdict> {
  const rounds = new Rounds(operation, {
    cpuMs: settings.cpuMs,
    wallMs: settings.timeoutMs,
    iterations: settings.iterations,
    floorBytes: settings.floorBytes,
    kinds,
  });
  const record = await rounds.measure();
  if (record.outcome !== 'leak' || !settings.explain) return ofRecord(record, [], []);
  const window = rounds.window();
  const { culprits, gap } = await explain(window.run, window.operations);
  return ofRecord(record, culprits, gap === null ? [] : [gap]);
}

function unknown(reason: string): Verdict {
  return ofRecord(
    {
      outcome: 'inconclusive',
      reason,
      operations: 0,
      cpuMs: 0,
      wouldHaveSeen: NaN,
      medianBytesPerOperation: NaN,
      answers: {},
      at: [],
      readings: {},
      gaps: [],
    },
    [],
    [],
  );
}
