/**
 * Who holds what grows: snapshots of this isolate around more operations, compared by the heap engine of the binary
 * (`plimsoll snapshot leaks`). Constructor x holder x place, as `plimsoll check` names them.
 */

import path = require('path');
import v8 = require('v8');

import { liveBytes } from './heap';
import { gapOf, inPrivateFolder, snapshotVerb, writeSnapshot, type Sheet } from './snapshot';
import { size, type Culprit } from './verdict';

/** A heap beyond this makes a test wait for minutes. */
const MOST_HEAP_BYTES = 512 * 1024 * 1024;
/** Before, and after each of three windows: fewer cannot tell a cache that fills from one that leaks. */
const SNAPSHOTS = 4;
const MOST_CULPRITS = 3;

/** Culprits, or why there are none. */
export interface Explanation {
  readonly culprits: readonly Culprit[];
  readonly gap: string | null;
}

/** Drives `window` (so many `operations`) between snapshots and asks who gained by it. Throws only what `window` throws. */
export async function explain(window: () => Promise<void>, operations: number): Promise<Explanation> {
  const heap = v8.getHeapStatistics().used_heap_size;
  if (heap > MOST_HEAP_BYTES) return { culprits: [], gap: `who holds it: ${size(heap)} of heap are too much to look at in a test` };
  try {
    const sheet = await inPrivateFolder(async (folder) => {
      const files: string[] = [];
      for (let snapshot = 0; snapshot < SNAPSHOTS; snapshot++) {
        if (snapshot > 0) await window();
        await liveBytes();
        files.push(writeSnapshot(path.join(folder, `${snapshot}.heapsnapshot`)));
      }
      return snapshotVerb('leaks', ...files, '--operations', String(operations));
    });
    const culprits = sheet.rows.slice(0, MOST_CULPRITS).map(culpritOf);
    return { culprits, gap: culprits.length > 0 ? null : 'who holds it: no holder on the heap grows with the operations' };
  } catch (error) {
    return { culprits: [], gap: gapOf(error) };
  }
}

function culpritOf(row: Sheet['rows'][number]): Culprit {
  const text = (column: string): string => (typeof row[column] === 'string' ? (row[column] as string) : '');
  const figure = (column: string): number => (typeof row[column] === 'number' ? (row[column] as number) : 0);
  return {
    kind: text('kind'),
    holder: text('holder'),
    place: text('place'),
    pattern: text('pattern'),
    perOperation: figure('count'),
    bytesPerOperation: figure('bytes'),
  };
}
