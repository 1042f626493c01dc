/**
 * What a memory monitor decides: lines, severities, growth, sessions. No clock, no timer, no process: those are `monitor.ts`.
 * What happens here is fixed by the vectors in `testdata/monitor`.
 */

import { size } from './verdict';

/** How bad it is. `recovered` ends what was raised before. */
export type Severity = 'warning' | 'error' | 'critical' | 'recovered';

/** What an alert is about. */
export type AlertType = 'session' | 'component' | 'system' | 'growth' | 'pressure';

/** What passed a line. */
export interface Alert {
  readonly type: AlertType;
  readonly severity: Severity;
  readonly message: string;
  /** Whose, of sessions and components. */
  readonly session: string | null;
  readonly component: string | null;
  /** Bytes, bytes per minute of growth, percent of the heap. */
  readonly value: number;
  readonly limit: number;
}

/** How a session's bytes are known: the program said so, an estimate by walking its root, or its retained size in a snapshot. */
export type Method = 'reported' | 'estimated' | 'retained';

/** What is known of a session. */
export interface SessionStatus {
  /** Null before anything was said or walked. */
  readonly bytes: number | null;
  readonly method: Method;
  /** False of an estimate that was cut short, or that met functions: what they capture is not in it. */
  readonly isComplete: boolean;
  /** Charged bytes by component. */
  readonly components: { readonly [component: string]: number };
}

/** Lines, in bytes and percent. @internal */
export interface Lines {
  readonly perSession: number;
  readonly totalSystem: number;
  readonly alertThreshold: number;
  readonly hysteresis: number;
  readonly growthPerMinute: number;
  readonly growthWindowMs: number;
  readonly heapFull: number;
  readonly components: { readonly [component: string]: number };
}

/** What the process says of itself; null is not known. */
export interface Reading {
  readonly totalBytes: number | null;
  readonly liveBytes: number | null;
  readonly heapFullPercent: number | null;
}

type State = Exclude<Severity, 'recovered'> | null;

interface Line {
  readonly type: AlertType;
  readonly limit: number;
  /** Severity above the limit. */
  readonly above: Exclude<Severity, 'recovered'>;
  /** From here on it is a warning. */
  readonly warnsAt: number;
}

interface Component {
  bytes: number;
  state: State;
}

/** Asked at each sample for the bytes; undefined where there is nothing new. @internal */
export type Source = () => { readonly bytes: number; readonly method: Method; readonly isComplete: boolean } | undefined;

interface Session {
  source: Source | null;
  said: { readonly bytes: number; readonly method: Method; readonly isComplete: boolean } | null;
  state: State;
  readonly components: Map<string, Component>;
}

/** Charges that name no component. */
const WHOLE = '';
const RANKS = [null, 'warning', 'error', 'critical'];

/** Sessions, the process, and what was raised for them. Each alert is told before the next line is looked at. @internal */
export class Watch {
  private readonly sessions = new Map<string, Session>();
  private readonly growing: Growth;
  private system: State = null;
  private growth: State = null;
  private pressure: State = null;
  private total: number | null = null;

  constructor(
    private readonly lines: Lines,
    private readonly tell: (alert: Alert) => void,
  ) {
    this.growing = new Growth(lines.growthWindowMs);
  }

  get sessionCount(): number {
    return this.sessions.size;
  }

  get totalBytes(): number | null {
    return this.total;
  }

  /** Bytes a minute by the plain slope; null while too little is known. */
  get bytesPerMinute(): number | null {
    return this.growing.bytesPerMinute();
  }

  /** Names in order. */
  names(): string[] {
    return [...this.sessions.keys()].sort();
  }

  /** Makes a session known, or changes its source. */
  register(name: string, source: Source | null): void {
    const known = this.sessions.get(name);
    if (known === undefined) this.sessions.set(name, { source, said: null, state: null, components: new Map() });
    else Object.assign(known, { source, said: null });
  }

  /** The part of a session is so large; whether it fits. */
  charge(name: string, bytes: number, component = WHOLE): boolean {
    if (!(bytes >= 0)) throw new TypeError(`a session is charged bytes, not ${String(bytes)}`);
    if (!this.sessions.has(name)) this.register(name, null);
    const { components } = this.sessions.get(name) as Session;
    const part = components.get(component);
    if (part === undefined) components.set(component, { bytes, state: null });
    else part.bytes = bytes;
    this.lookAt(name, [component]);
    const session = this.sessions.get(name);
    const budget = this.lines.components[component] ?? Infinity;
    // An eviction may have ended it.
    return session === undefined || ((bytesOf(session) ?? 0) <= this.lines.perSession && (session.components.get(component)?.bytes ?? 0) <= budget);
  }

  /** A figure that was obtained otherwise than by the source. */
  say(name: string, said: { readonly bytes: number; readonly method: Method; readonly isComplete: boolean }): void {
    const session = this.sessions.get(name);
    if (session === undefined) return;
    session.said = said;
    this.lookAt(name, []);
  }

  /** Forgets a session; whether there was one. */
  end(name: string): boolean {
    const session = this.sessions.get(name);
    if (session === undefined) return false;
    this.sessions.delete(name);
    const { perSession, components } = this.lines;
    if (session.state !== null) this.tell(alert('session', 'recovered', 0, perSession, name, null));
    for (const [component, { state }] of [...session.components].sort(byName)) {
      if (state !== null) this.tell(alert('component', 'recovered', 0, components[component] ?? 0, name, component));
    }
    return true;
  }

  /** Looks at everything. */
  sample(atMs: number, reading: Reading): void {
    const names = this.names();
    for (const name of names) {
      const session = this.sessions.get(name);
      const said = session?.source?.();
      if (session !== undefined && said !== undefined) session.said = said;
    }
    const { totalBytes, liveBytes, heapFullPercent } = reading;
    this.total = totalBytes ?? this.total;
    if (liveBytes !== null) this.growing.add(atMs, liveBytes);
    for (const name of names) this.lookAt(name, [...(this.sessions.get(name)?.components.keys() ?? [])].sort());
    const { totalSystem, growthPerMinute, heapFull } = this.lines;
    const system: Line = { type: 'system', limit: totalSystem, above: 'critical', warnsAt: this.warnsAt(totalSystem) };
    this.follow(this.system, totalBytes, system, (state) => (this.system = state));
    const growth: Line = { type: 'growth', limit: growthPerMinute, above: 'error', warnsAt: Infinity };
    this.follow(this.growth, this.bytesPerMinute, growth, (state) => (this.growth = state));
    const pressure: Line = { type: 'pressure', limit: heapFull, above: 'warning', warnsAt: Infinity };
    this.follow(this.pressure, heapFullPercent, pressure, (state) => (this.pressure = state));
  }

  /** What is known of a session. */
  status(name: string): SessionStatus | undefined {
    const session = this.sessions.get(name);
    if (session === undefined) return undefined;
    const components: { [component: string]: number } = {};
    for (const [component, { bytes }] of session.components) if (component !== WHOLE) components[component] = bytes;
    const { method, isComplete } = session.said ?? { method: 'reported' as const, isComplete: true };
    return { bytes: bytesOf(session), method, isComplete, components };
  }

  private lookAt(name: string, components: readonly string[]): void {
    const { perSession, components: budgets } = this.lines;
    const session = this.sessions.get(name);
    if (session === undefined) return;
    const line: Line = { type: 'session', limit: perSession, above: 'error', warnsAt: this.warnsAt(perSession) };
    this.follow(session.state, bytesOf(session), line, (state) => (session.state = state), name);
    for (const component of components) {
      const limit = budgets[component];
      const part = session.components.get(component);
      if (limit === undefined || part === undefined || this.sessions.get(name) !== session) continue;
      const of: Line = { type: 'component', limit, above: 'error', warnsAt: this.warnsAt(limit) };
      this.follow(part.state, part.bytes, of, (state) => (part.state = state), name, component);
    }
  }

  private warnsAt(limit: number): number {
    return (limit * this.lines.alertThreshold) / 100;
  }

  // The state is kept before anybody is told: who is told may charge again.
  private follow(was: State, value: number | null, line: Line, keep: (state: State) => void, session: string | null = null, component: string | null = null): void {
    if (value === null) return;
    const is = next(was, value, line, (line.limit * this.lines.hysteresis) / 100);
    keep(is);
    const severity = is === null && was !== null ? 'recovered' : RANKS.indexOf(is) > RANKS.indexOf(was) ? is : null;
    if (severity !== null) this.tell(alert(line.type, severity, value, line.limit, session, component));
  }
}

/** A severity is left only where the value is below its line by more than the slack. */
function next(was: State, value: number, line: Line, slack: number): State {
  if (value > line.limit || (was === line.above && value >= line.limit - slack)) return line.above;
  if (value >= line.warnsAt || (was !== null && value >= line.warnsAt - slack)) return 'warning';
  return null;
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}

function bytesOf(session: Session): number | null {
  if (session.source !== null || session.said !== null) return session.said === null ? null : session.said.bytes;
  let bytes: number | null = null;
  for (const part of session.components.values()) bytes = (bytes ?? 0) + part.bytes;
  return bytes;
}

function alert(type: AlertType, severity: Severity, value: number, limit: number, session: string | null, component: string | null): Alert {
  const who = { session: `session ${session}`, component: `${component} of session ${session}`, system: 'the process', growth: 'growth', pressure: 'the heap' }[type];
  const rate = 'by a plain slope, which is no verdict';
  const figure =
    type === 'growth'
      ? `${size(value)} a minute, limit ${size(limit)}, ${rate}`
      : type === 'pressure'
        ? `${Number(value.toPrecision(3))} % full, limit ${limit} %`
        : `${size(value)} of ${size(limit)}`;
  return { type, severity, message: `${who}${severity === 'recovered' ? ' recovered' : ''}: ${figure}`, session, component, value, limit };
}

/** Growth by the rule of the documents: readings of a window, and the median of the slopes between its halves. */
class Growth {
  private readonly readings: { atMs: number; bytes: number; slot: number }[] = [];
  private begunMs: number | null = null;

  constructor(private readonly windowMs: number) {}

  add(atMs: number, bytes: number): void {
    this.begunMs ??= atMs;
    const slot = Math.floor((atMs - this.begunMs) / (this.windowMs / SLOTS));
    const last = this.readings[this.readings.length - 1];
    if (last?.slot !== slot) this.readings.push({ atMs, bytes, slot });
    else if (bytes < last.bytes) Object.assign(last, { atMs, bytes });
    while ((this.readings[0]?.atMs ?? atMs) < atMs - this.windowMs) this.readings.shift();
  }

  bytesPerMinute(): number | null {
    const { readings } = this;
    const half = readings.length >> 1;
    const spanMs = readings.length === 0 ? 0 : (readings[readings.length - 1] as { atMs: number }).atMs - (readings[0] as { atMs: number }).atMs;
    if (readings.length < FEWEST || spanMs < this.windowMs / 2) return null;
    const slopes: number[] = [];
    for (let index = half; index < readings.length; index++) {
      const [from, to] = [readings[index - half], readings[index]] as [{ atMs: number; bytes: number }, { atMs: number; bytes: number }];
      slopes.push(((to.bytes - from.bytes) / (to.atMs - from.atMs)) * 60_000);
    }
    return slopes.sort((a, b) => a - b)[slopes.length >> 1] ?? null;
  }
}

/** Readings that a window keeps at most; of closer ones the lowest counts. */
const SLOTS = 120;
/** Readings below which there is no growth. */
const FEWEST = 6;
