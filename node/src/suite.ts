/** The suites of `plimsoll suite` from a test: the binary runs them in processes of their own, each check with a word of its own. */

import { findBinary } from './binary';
import { BinaryError } from './errors';
import { runLater } from './run';

export type SuiteName = 'fast' | 'tight-loop' | 'snapshot' | 'soak' | 'http' | 'session';

export interface SuiteOptions {
  /** Only these: `gc_verification`, `gc_verification.basic`. */
  readonly only?: readonly string[];
  /** Further flags of `plimsoll suite`. */
  readonly flags?: readonly string[];
  /** What runs the module: `['tsx']`. This Node by default. */
  readonly runtime?: readonly string[];
  /** Milliseconds until it is given up; an hour by default. */
  readonly timeout?: number;
}

/** One check; `why` is empty where it passed, `hints` say what to try, `culprits` hold what grew. */
export interface SuiteCheck {
  readonly test: string;
  readonly name: string;
  readonly title: string;
  readonly state: 'passed' | 'broken' | 'leak' | 'inconclusive' | 'skipped' | 'failed';
  readonly why: string;
  readonly seconds: number;
  readonly hints: readonly string[];
  readonly culprits: readonly { readonly kind: string; readonly holder: string | null; readonly place: string | null }[];
}

/** What a suite found: the document of `plimsoll suite --json`, schema `plimsoll.suite/1`. */
export interface SuiteReport {
  readonly suite: string;
  readonly subject: string;
  readonly checks: readonly SuiteCheck[];
  readonly notes: readonly string[];
}

/** A suite has a check that is red; `report` has all of them. */
export class SuiteError extends Error {
  readonly report!: SuiteReport;

  constructor(report: SuiteReport) {
    const red = report.checks.filter(isRed);
    super([`${red.length} of ${report.checks.length} checks of ${report.subject} are red`, ...red.map(line)].join('\n'));
    this.name = 'SuiteError';
    Object.defineProperty(this, 'report', { value: report });
  }
}

const HOUR_MS = 3_600_000;
const isRed = ({ state }: SuiteCheck): boolean => ['broken', 'leak', 'failed'].includes(state);

function line({ test, name, state, why, culprits: [culprit] }: SuiteCheck): string {
  const holder = culprit ? `; ${culprit.kind} in ${culprit.holder ?? 'nobody known'}${culprit.place ? ` at ${culprit.place}` : ''}` : '';
  return `  ${test}.${name}: ${state}: ${why}${holder}`;
}

/**
 * Runs a suite on a module. Checks that are inconclusive or were skipped fail nothing: the report says why.
 *
 * @throws {SuiteError} if a check is red.
 * @throws {BinaryError} if there is no binary, or the suite did not run.
 */
export async function suite(name: SuiteName, subject: string, options: SuiteOptions = {}): Promise<SuiteReport> {
  const { only = [], flags = [], runtime = [process.execPath], timeout = HOUR_MS } = options;
  const binary = findBinary();
  const chosen = only.flatMap((check) => ['--only', check]);
  const { PLIMSOLL_FORMAT: _format, ...env } = process.env;
  const { ran } = runLater(binary, ['suite', name, subject, '--json', ...chosen, ...flags, '--', ...runtime], { env, timeout });
  const { stdout, stderr, signal, status } = await ran;
  let report: SuiteReport;
  try {
    report = JSON.parse(stdout) as SuiteReport;
  } catch {
    throw new BinaryError('PLIMSOLL_BINARY_FAILED', `the suite ${name} did not run (${signal ?? `status ${String(status)}`}): ${stderr.trim()}`);
  }
  if (report.checks.some(isRed)) throw new SuiteError(report);
  return report;
}
