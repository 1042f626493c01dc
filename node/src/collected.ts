/** `expectCollected`: what a factory makes becomes garbage, and if not, who keeps it. */

import path = require('path');

import type * as Census from './census';
import { collector, now, runtime, turn } from './heap';
import type * as Snapshot from './snapshot';

/** How an object went. */
export interface Collected {
  /** Turns of the event loop, each with a collection, until it was gone. */
  readonly turns: number;
  /** Whether its finaliser was called too; some objects (timers) have none that is. */
  readonly finalized: boolean;
}

/** An object is still reachable; `path` leads to it from a root. */
export class RetainedError extends Error {
  /** `root → … → object`, or why it is not known. */
  readonly path: string;

  constructor(message: string, retainers: string) {
    super(`${message}\n${retainers}`);
    this.name = 'RetainedError';
    this.path = retainers;
  }
}

/** Turns after which an object in V8 is gone or kept; the conservative stack scan of Bun may need more. */
const TURNS = 5;
const TURNS_IN_BUN = 60;
/** Turns that a finaliser may come later. */
const FINALIZER_TURNS = 3;
const SHOWN_STEPS = 6;

/**
 * Makes an object and fails with a `RetainedError` if it is still reachable after collections. Nothing of the object may be
 * held by the caller. The factory may be asynchronous. `timeoutMs` ends the wait earlier.
 *
 * @throws {RetainedError} if it is kept, with the path that keeps it.
 */
export async function expectCollected(factory: () => object | Promise<object>, options: { readonly timeoutMs?: number } = {}): Promise<Collected> {
  const collect = collector();
  if (collect === null) throw new Error(`this ${runtime} does not let its collector be called`);
  let finalized = false;
  const registry = new FinalizationRegistry(() => (finalized = true));
  const made = await make(factory, registry);
  const deadline = now() + (options.timeoutMs ?? Infinity);
  const most = runtime === 'bun' ? TURNS_IN_BUN : TURNS;
  for (let turns = 1; turns <= most && (turns === 1 || now() < deadline); turns++) {
    // A turn first: a weak reference made in a job keeps its object until the job is over.
    await turn();
    collect();
    if (made.reference.deref() !== undefined) continue;
    for (let more = 0; more < FINALIZER_TURNS && !finalized; more++) await turn();
    return { turns, finalized };
  }
  throw new RetainedError(`${made.name} is still reachable after ${most} collections`, await pathTo(made.reference));
}

/** In a function of its own, whose frame is gone when the collector looks. */
async function make(factory: () => object | Promise<object>, registry: FinalizationRegistry<undefined>): Promise<{ reference: WeakRef<object>; name: string }> {
  const object: unknown = await factory();
  if ((typeof object !== 'object' && typeof object !== 'function') || object === null) {
    throw new TypeError(`the factory is to return an object, not ${object === null ? 'null' : typeof object}`);
  }
  registry.register(object, undefined);
  const { constructor } = object as { constructor?: { name?: string } };
  return { reference: new WeakRef(object), name: constructor?.name || 'the object' };
}

async function pathTo(reference: WeakRef<object>): Promise<string> {
  // Only what is kept needs them.
  const { gapOf, inPrivateFolder, snapshotVerb, writeSnapshot } = require('./snapshot') as typeof Snapshot;
  const { snapshotId } = require('./census') as typeof Census;
  try {
    return await inPrivateFolder(async (folder) => {
      await turn();
      // Objects are numbered by the first snapshot that meets them.
      const file = writeSnapshot(path.join(folder, 'retained.heapsnapshot'));
      const object = reference.deref();
      const id = object === undefined ? null : snapshotId(object);
      if (id === null) return 'who holds it: the object went while it was looked for';
      const { facts } = snapshotVerb('retainers', file, `@${id}`);
      return shortened(facts['path']);
    });
  } catch (error) {
    return gapOf(error);
  }
}

/** The end of a path, where the program's own objects are: what comes before is how the runtime reaches its modules. */
function shortened(found: unknown): string {
  if (typeof found !== 'string') return 'who holds it: the snapshot has no path to it';
  const steps = found.replace(/ @\d+/g, '').split(' → ');
  return `held by ${steps.length > SHOWN_STEPS ? '… → ' : ''}${steps.slice(-SHOWN_STEPS).join(' → ')}`;
}
