/** Loads an operation and the classes to count from a module. */

import type { Kind } from './counters';
import { urlOf, type Subject } from './isolate';
import type { Operation } from './rounds';

/** What a module gives. */
export interface Loaded {
  readonly operation: Operation;
  /** A class by its name among the exports, or of the language. */
  readonly kind: (name: string) => Kind;
}

/**
 * Imports the module of `subject`.
 *
 * @throws {TypeError} if it has no such export, or one that is no function; whatever the import throws.
 */
export async function load(subject: Subject): Promise<Loaded> {
  const url = urlOf(subject);
  const namespace = (await import(url)) as { [name: string]: unknown };
  // Names of a CommonJS module that are not found by reading it stand in its default export only.
  const fallback = namespace['default'] as { [name: string]: unknown } | undefined;
  const get = (name: string): unknown => namespace[name] ?? fallback?.[name];
  const name = subject.export;
  const found = name === undefined ? (get('operation') ?? fallback) : get(name);
  if (typeof found !== 'function') {
    const known = Object.keys({ ...namespace, ...fallback }).filter((key) => typeof get(key) === 'function');
    const missing = name === undefined ? 'neither `operation` nor a default export that is a function' : `no function \`${name}\``;
    throw new TypeError(`${url} exports ${missing}; functions there: ${known.join(', ') || 'none'}`);
  }
  return {
    operation: found as Operation,
    kind: (kind) => {
      const value = get(kind) ?? (globalThis as { [name: string]: unknown })[kind];
      if (typeof value !== 'function') throw new TypeError(`${url} exports no class \`${kind}\`, and the language has none`);
      return value as Kind;
    },
  };
}
