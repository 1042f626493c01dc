/**
 * A clean process for an operation that can be imported: test runners keep mocks, matchers and modules alive, and what they
 * keep would be counted with the operation.
 */

import { spawn } from 'child_process';
import path = require('path');
import { pathToFileURL } from 'url';

import type { Kind } from './counters';
import { every, runtime } from './heap';
import type { Settings } from './here';
import type { Operation } from './rounds';
import type { Verdict } from './verdict';

/** An export of a module: what can be measured in a process of its own. */
export interface Subject {
  /** Path or `file:` URL of the module. Relative paths are relative to the working directory. */
  readonly module: string | URL;
  /** Name of the export; by default `operation`, else the default export. */
  readonly export?: string;
}

/** @internal What rides to the child. */
export interface Task {
  readonly module: string;
  readonly export: string | null;
  readonly kinds: readonly string[];
  readonly settings: Settings;
}

/** @internal What comes back. */
export type Outcome = { readonly verdict: Verdict } | { readonly error: Error };

interface Carried {
  readonly verdict?: Verdict;
  readonly error?: { readonly name: string; readonly message: string; readonly stack: string; readonly code?: string };
}

/** Last bytes of the child's standard error that are shown when it dies. */
const STDERR_BYTES = 4096;
/** Beyond what repetition may take: loading, snapshots and their comparison on a slow machine. */
const GRACE_MS = 60_000;

/** @internal Where `operation` is exported by a CommonJS module that is loaded already; null where it is not. */
export function exported(operation: Operation | Kind): Subject | null {
  // A mock is what its test made of it, in no other process.
  if ('mock' in operation) return null;
  let modules: NodeJS.Dict<NodeJS.Module>;
  try {
    modules = require.cache;
  } catch {
    return null;
  }
  for (const [file, module] of Object.entries(modules)) {
    if (module === undefined || module === require.main || path.dirname(file) === __dirname) continue;
    const values: unknown = module.exports;
    if (values === operation) return { module: file };
    if (typeof values !== 'object' || values === null) continue;
    // By descriptor: a getter of somebody else's exports is not run.
    for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(values))) {
      if (property.value === operation) return { module: file, export: name };
    }
  }
  return null;
}

/** @internal The URL of a subject's module. */
export function urlOf(subject: Subject): string {
  const module = String(subject.module);
  return /^[a-z][a-z0-9+.-]+:/i.test(module) ? module : pathToFileURL(path.resolve(module)).href;
}

/** Flags of this process that a module may need to load; what a test runner or a debugger set is not ours to repeat. */
function loaderFlags(): string[] {
  const wanted = /^(--import|--require|-r|--loader|--experimental-(loader|strip-types|transform-types|vm-modules|wasm-modules|sqlite)|--conditions|-C|--enable-source-maps)$/;
  const flags: string[] = [];
  for (let index = 0; index < process.execArgv.length; index++) {
    const flag = process.execArgv[index] as string;
    if (!wanted.test(flag.split('=')[0] as string)) continue;
    flags.push(flag);
    const takesValue = /^(--import|--require|-r|--loader|--experimental-loader|--conditions|-C)$/.test(flag);
    if (takesValue) flags.push(process.execArgv[++index] ?? '');
  }
  return flags;
}

/** Without what tells a process that it belongs to a test runner, or makes it write coverage. */
function environment(): NodeJS.ProcessEnv {
  const dropped = /^(NODE_TEST_CONTEXT|NODE_V8_COVERAGE|NODE_CHANNEL_.*|JEST_WORKER_ID|VITEST.*|TEST_WORKER_ID)$/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !dropped.test(name)));
}

/** @internal Measures `subject` in a process of its own. */
export function inOwnProcess(subject: Subject, kinds: readonly string[], settings: Settings): Promise<Outcome> {
  const task: Task = { module: urlOf(subject), export: subject.export ?? null, kinds, settings };
  const flags = runtime === 'node' ? loaderFlags() : [];
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...flags, path.join(__dirname, 'child.js'), JSON.stringify(task)], {
      env: environment(),
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    });
    const answer: Buffer[] = [];
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-STDERR_BYTES)));
    child.stdio[3]?.on('data', (data: Buffer) => answer.push(data));
    let isLate = false;
    const patience = settings.timeoutMs + settings.cpuMs * 20 + GRACE_MS;
    const watch = every(patience, () => {
      isLate = true;
      child.kill('SIGKILL');
    });
    const end = (outcome: Outcome): void => {
      watch.end();
      resolve(outcome);
    };
    child.on('error', (error) => end({ error }));
    child.on('close', (status, signal) => {
      let carried: Carried = {};
      try {
        carried = JSON.parse(Buffer.concat(answer).toString()) as Carried;
      } catch {
        // It ended before it had answered: said below.
      }
      if (carried.verdict !== undefined) return end({ verdict: { ...carried.verdict, isolated: true } });
      if (carried.error !== undefined) return end({ error: Object.assign(new Error(), carried.error) });
      const how = isLate ? `was ended after ${patience / 1000} s` : `ended with ${signal ?? `status ${String(status)}`}`;
      const said = stderr.trim();
      return end({ error: new Error(`the process that repeats ${task.module} ${how}${said ? `\n${said}` : ''}`) });
    });
  });
}
