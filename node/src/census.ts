/**
 * Live objects by prototype, through an inspector session that is open for one call: the only way to list what exists
 * without patching what makes it. The heap is collected by it, so only reachable objects are seen.
 */

import type * as Inspector from 'inspector';
import vm = require('vm');

const GROUP = 'plimsoll';
const BRIDGE = '__plimsoll_bridge__';

interface Answer {
  readonly result?: { readonly objectId?: string };
  readonly objects?: { readonly objectId?: string };
  readonly exceptionDetails?: unknown;
  readonly heapSnapshotObjectId?: string;
}

/** A session of this isolate with itself. */
class Session {
  private readonly session: Inspector.Session;

  constructor() {
    const inspector = require('inspector') as typeof Inspector;
    this.session = new inspector.Session();
    this.session.connect();
  }

  /** Answers come before `post` returns: a session of the same thread is a function call. */
  post(method: string, params: object): Answer {
    let answer: Answer = {};
    let failure: Error | null = new Error('the inspector did not answer at once');
    this.session.post(method, params, (error: Error | null, result?: object) => {
      failure = error ? new Error(error.message) : null;
      answer = (result ?? {}) as Answer;
    });
    if (failure === null && answer.exceptionDetails !== undefined) failure = new Error('the census threw');
    if (failure !== null) throw failure;
    return answer;
  }

  /** The inspector's name for a value: it evaluates in the main context only, where the value hangs for this one call. */
  name(value: object): string {
    const main = vm.runInThisContext('globalThis') as { [BRIDGE]?: unknown };
    Object.defineProperty(main, BRIDGE, { value, configurable: true, enumerable: false });
    try {
      const answer = this.post('Runtime.evaluate', { expression: `globalThis.${BRIDGE}`, objectGroup: GROUP, silent: true });
      return answer.result?.objectId as string;
    } finally {
      delete main[BRIDGE];
    }
  }

  close(): void {
    try {
      this.post('Runtime.releaseObjectGroup', { objectGroup: GROUP });
    } finally {
      this.session.disconnect();
    }
  }
}

/** All reachable objects with `prototype` in their chain, to look at and let go. */
export function withLive(prototype: object, look: (objects: readonly unknown[]) => void): void {
  const session = new Session();
  try {
    const { objects } = session.post('Runtime.queryObjects', { prototypeObjectId: session.name(prototype), objectGroup: GROUP });
    session.post('Runtime.callFunctionOn', {
      objectId: session.name({ look }),
      functionDeclaration: 'function (objects) { this.look(objects); }',
      arguments: [{ objectId: objects?.objectId }],
      objectGroup: GROUP,
      silent: true,
    });
  } finally {
    session.close();
  }
}

/** The number of an object in snapshots taken before; null if it is in none. */
export function snapshotId(object: object): string | null {
  const session = new Session();
  try {
    const { heapSnapshotObjectId } = session.post('HeapProfiler.getHeapObjectId', { objectId: session.name(object) });
    return heapSnapshotObjectId ?? null;
  } finally {
    session.close();
  }
}
