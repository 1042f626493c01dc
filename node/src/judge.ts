/**
 * Asks the one judge: `plimsoll analyze --stream`, JSON lines, one verdict a line. Nothing here decides.
 *
 * A look is one short run of the binary (3 ms) that gets all its series at once. No child outlives it, so no pipe and
 * no handle is in a reading, and nothing keeps the process of a test alive.
 */

import { spawnSync } from 'child_process';
import { findBinary } from './binary';
import { BinaryError } from './errors';
import { runLater } from './run';

/** One series over operations, or over seconds. */
export interface Question {
  /** `live_bytes`, or the name of what is counted. */
  readonly metric: string;
  /** Bytes or things. */
  readonly quantity: 'bytes' | 'count';
  /** Operations done at each reading; seconds, on the axis of time. */
  readonly operations: readonly number[];
  /** Operations by default. Readings over time follow no forced collections. */
  readonly axis?: 'op' | 'time';
  /** The readings. */
  readonly values: readonly number[];
  /** Probability of a false leak over all looks. */
  readonly alpha: number;
  /** Which look this is. */
  readonly look: number;
  /** Growth per operation below which nothing is a leak. */
  readonly floor?: number;
  /** What grew without operations, per operation. */
  readonly idleGrowthPerOp?: number;
}

/** What the judge says about one series. Rates are per operation, or per second on the axis of time, in bytes or things. */
export interface Answer {
  readonly verdict: 'leak' | 'no_leak' | 'inconclusive';
  readonly pattern: string;
  readonly confidence: number;
  readonly rate: number | null;
  readonly low: number | null;
  readonly high: number | null;
  readonly reason: string;
}

/** A measurement asks again after each doubling; the judge divides its probability of a false leak by that. */
const MOST_LOOKS = 6;
/** A verdict takes about a millisecond; a machine that swaps takes longer. */
const PATIENCE_MS = 20_000;

/**
 * The verdicts on `questions`, in their order.
 *
 * @throws {BinaryError} if there is no judge, or it does not answer.
 */
export function ask(questions: readonly Question[]): Answer[] {
  const { binary, input, env } = asked(questions);
  const ran = spawnSync(binary, ['analyze', '--stream'], { input, env, encoding: 'utf8', timeout: PATIENCE_MS });
  if (ran.error) throw failed(binary, ran.error.message);
  if (ran.status !== 0) throw failed(binary, `it ended with ${ran.signal ?? `status ${String(ran.status)}`}`);
  return answers(binary, questions, ran.stdout);
}

/** The same without blocking; `cancel` ends it. */
export function askLater(questions: readonly Question[]): { readonly answers: Promise<Answer[]>; readonly cancel: () => void } {
  const { binary, input, env } = asked(questions);
  const { ran, cancel } = runLater(binary, ['analyze', '--stream'], { input, env, timeout: PATIENCE_MS });
  const found = ran.then(({ status, signal, stdout }) => {
    if (status !== 0) throw failed(binary, `it ended with ${signal ?? `status ${String(status)}`}`);
    return answers(binary, questions, stdout);
  });
  return { answers: found, cancel };
}

function asked(questions: readonly Question[]): { binary: string; input: string; env: NodeJS.ProcessEnv } {
  const input = questions.map((question, id) => `${JSON.stringify(request(question, id))}\n`).join('');
  // A preloaded profiler or a format of the user's is meant for his program and not for ours.
  const { LD_PRELOAD: _preload, PLIMSOLL_FORMAT: _format, ...env } = process.env;
  return { binary: findBinary(), input, env };
}

function answers(binary: string, questions: readonly Question[], stdout: string): Answer[] {
  const lines = stdout.trimEnd().split('\n');
  if (lines.length !== questions.length) throw failed(binary, `${lines.length} answers to ${questions.length} questions`);
  return lines.map((line, index) => answer(binary, line, questions[index] as Question));
}

function failed(binary: string, why: string): BinaryError {
  return new BinaryError('PLIMSOLL_BINARY_FAILED', `the plimsoll binary ${binary} does not judge: ${why}`);
}

function request(question: Question, id: number): unknown {
  const { axis = 'op', operations } = question;
  return {
    id,
    series: {
      metric: question.metric,
      quantity: question.quantity,
      axis,
      // What the judge reads off the clock is not used on the axis of operations; one second an operation keeps the rates of
      // both axes equal.
      t_s: operations,
      ...(axis === 'op' ? { ops: operations } : {}),
      value: question.values,
      collected: axis === 'op',
    },
    terms: {
      alpha: question.alpha,
      look: Math.min(question.look, MOST_LOOKS),
      looks: MOST_LOOKS,
      settled: true,
      idle_growth_per_op: question.idleGrowthPerOp ?? 0,
      ...(question.floor === undefined ? {} : { floor: question.floor }),
    },
  };
}

function answer(binary: string, line: string, question: Question): Answer {
  let said: { [key: string]: unknown };
  try {
    said = JSON.parse(line) as { [key: string]: unknown };
  } catch {
    throw failed(binary, `it answered ${line.slice(0, 80)}`);
  }
  if (typeof said['error'] === 'string') throw failed(binary, `it refused a series: ${said['error']}`);
  const number = (key: string): number | null => (typeof said[key] === 'number' ? (said[key] as number) : null);
  return {
    verdict: said['verdict'] as Answer['verdict'],
    pattern: String(said['pattern'] ?? ''),
    confidence: number('confidence') ?? 0,
    rate: number(question.axis === 'time' ? 'rate_bytes_per_s' : 'rate_bytes_per_op'),
    low: number('rate_ci_low'),
    high: number('rate_ci_high'),
    reason: String(said['reason'] ?? ''),
  };
}
