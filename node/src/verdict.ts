/** The verdict on one operation, in the words of the whole project, and how it reads. */

import type { Record } from './rounds';

/** Constructor x holder x place, as far as each is known. */
export interface Culprit {
  /** What the objects are. */
  readonly kind: string;
  /** The long-lived object that gains them. */
  readonly holder: string;
  /** `file:line` to look at: where the holder or the class is made, or where it gains. */
  readonly place: string;
  /** The name of the pattern, empty if it is none that has one. */
  readonly pattern: string;
  /** Objects per operation. */
  readonly perOperation: number;
  /** Bytes per operation. */
  readonly bytesPerOperation: number;
}

/** Growth per operation with its 95 % interval. */
export interface Rate {
  readonly rate: number;
  readonly low: number;
  readonly high: number;
}

/** What repetition says about one operation. */
export interface Verdict {
  /** `no leak` bounds the growth below `wouldHaveSeen`; "not significant" is `inconclusive`. */
  readonly verdict: 'leak' | 'no leak' | 'inconclusive';
  /** Why it is inconclusive, or what else is worth saying. */
  readonly reason: string;
  readonly operations: number;
  readonly cpuMs: number;
  /** Median over the rounds of the live bytes that one operation left: what each keeps, without what containers add. */
  readonly bytesPerOperation: number;
  /** The judge's growth of live bytes per operation, with what containers add; null where it was not asked. */
  readonly rate: Rate | null;
  /** Things that leak, per operation: descriptors, timers, handles, listeners, instances. */
  readonly counts: { readonly [name: string]: number };
  /** Bytes per operation that would have been noticed. */
  readonly wouldHaveSeen: number;
  readonly pattern: string;
  /** Who holds what grows; empty unless it is a leak and memory allowed to look. */
  readonly culprits: readonly Culprit[];
  /** What could not be counted or looked at here, and why. */
  readonly gaps: readonly string[];
  /** Whether it was measured in a clean process of its own. */
  readonly isolated: boolean;
  /** Operations done at each reading, and the readings by counter. */
  readonly series: { readonly at: readonly number[]; readonly readings: { readonly [counter: string]: readonly number[] } };
}

/** @internal The verdict that a record of rounds is. */
export function ofRecord(record: Record, culprits: readonly Culprit[], gaps: readonly string[]): Verdict {
  const live = record.answers['live_bytes'];
  const counts: { [name: string]: number } = {};
  let pattern = '';
  for (const [name, answer] of Object.entries(record.answers)) {
    if (answer.verdict !== 'leak') continue;
    pattern = pattern || answer.pattern;
    if (name !== 'live_bytes') counts[name] = answer.rate ?? 0;
  }
  const { rate, low, high } = live ?? { rate: null, low: null, high: null };
  return {
    verdict: record.outcome === 'flat' ? 'no leak' : record.outcome,
    reason: record.reason,
    operations: record.operations,
    cpuMs: Math.round(record.cpuMs),
    bytesPerOperation: record.medianBytesPerOperation,
    rate: rate === null || low === null || high === null ? null : { rate, low, high },
    counts,
    wouldHaveSeen: record.wouldHaveSeen,
    pattern,
    culprits,
    gaps: [...record.gaps, ...gaps],
    isolated: false,
    series: { at: record.at, readings: record.readings },
  };
}

/** @internal A count with three significant digits, thousands separated. */
export function number(value: number): string {
  const exact = Number.isInteger(value) || Math.abs(value) >= 1000;
  return exact ? Math.round(value).toLocaleString('en-US') : String(Number(value.toPrecision(3)));
}

/** @internal Bytes in binary units, three significant digits. */
export function size(bytes: number): string {
  let value = bytes;
  for (const unit of ['B', 'KiB', 'MiB']) {
    if (Math.abs(value) < 1023.5) return `${Number(value.toPrecision(Math.abs(value) < 999.5 ? 3 : 4))} ${unit}`;
    value /= 1024;
  }
  return `${Number(value.toPrecision(3))} GiB`;
}

/** @internal Bytes from a number or a text such as `64 B`, `1.5 KiB` or `2 MB` (binary both), also with `/operation` behind. */
export function parseSize(limit: number | string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*(b|kb|kib|mb|mib|gb|gib)?\s*(?:(?:\/|per)\s*(?:op|operation|iteration|call))?\s*$/i.exec(String(limit));
  if (match === null) {
    throw new TypeError(`${JSON.stringify(limit)} is no size: give bytes, or a text such as '64 B' or '1.5 KiB'`);
  }
  const power = 'bkmg'.indexOf((match[2] ?? 'b').charAt(0).toLowerCase());
  return Number(match[1]) * 1024 ** power;
}

function growth(verdict: Verdict): string {
  const parts: string[] = [];
  const isOfBytes = verdict.rate !== null && verdict.rate.low > 0;
  if (verdict.rate !== null && isOfBytes) {
    const { rate, low, high } = verdict.rate;
    parts.push(`+${size(rate)} per call (95 % CI ${size(low)} … ${size(high)})`);
  }
  for (const [name, count] of Object.entries(verdict.counts)) {
    const isOne = Math.abs(count - 1) < 0.0005;
    parts.push(`+${number(count)} ${isOne ? name.replace(/s\b/, '') : name} per call`);
  }
  return parts.join(', ') || 'growth';
}

function sentence(culprit: Culprit): string {
  const held = culprit.holder ? ` held by ${culprit.holder}` : '';
  const place = culprit.place ? `, ${culprit.place}` : '';
  const pattern = culprit.pattern ? ` · ${culprit.pattern}` : '';
  const each = `+${number(culprit.perOperation)}, ${size(culprit.bytesPerOperation)} per call`;
  return `${culprit.kind || 'memory'}${held} (${each})${place}${pattern}`;
}

/** The verdict in lines, the answer first. */
export function describe(verdict: Verdict): string {
  const calls = `${verdict.operations.toLocaleString('en-US')} calls${verdict.isolated ? ' in a process of their own' : ''}`;
  const lines: string[] = [];
  if (verdict.verdict === 'leak') {
    lines.push(`leak: ${growth(verdict)}, ${calls}`, ...verdict.culprits.map(sentence));
    if (verdict.reason) lines.push(`note: ${verdict.reason}`);
  } else if (verdict.verdict === 'no leak') {
    const detail = verdict.reason ? `; ${verdict.reason}` : '';
    lines.push(`no leak: ${calls}, would have seen ${size(verdict.wouldHaveSeen)} per call or more${detail}`);
  } else {
    lines.push(`inconclusive: ${verdict.reason || 'no reason was given'} (${calls})`);
  }
  for (const gap of verdict.gaps) lines.push(`not counted: ${gap}`);
  return lines.join('\n');
}
