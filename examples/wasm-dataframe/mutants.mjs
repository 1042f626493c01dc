// The subject with one fault that is chosen by MUTANT: each breaks one row of a suite's table and no other. README.md says
// which. What makes a fault show in one suite only is stated beside it.

import { Table } from 'parquet-wasm';
import { toIpcStream } from './arrow.mjs';
import { cleanup } from './dataframe.mjs';
import * as subject from './subject.mjs';

export { filter, kind, live, memory } from './subject.mjs';

/** Longer than finalisers are waited for. */
const LATE_MS = 800;

const mutants = {
  /** A2. Tables are given back in one go with the next one, the last when nothing came for a while: later than it may be. */
  'late-finaliser': () => {
    let last;
    const timer = setTimeout(() => {
      last?.();
      last = undefined;
    }, LATE_MS);
    cleanup.schedule = (giveBack) => {
      last?.();
      last = giveBack;
      timer.refresh();
    };
    return {};
  },

  /** A3. A copy is made in linear memory and its address forgotten; no object on the heap knows of it. */
  'forgotten-copy': () => {
    const column = new Map([['value', new Float64Array(128)]]);
    return {
      create(i, options) {
        // Not for every frame: a million of them would fill the memory.
        if ((options?.columns ?? 3) > 1) Table.fromIPCStream(toIpcStream(column, 128)).__destroy_into_raw();
        return subject.create(i, options);
      },
    };
  },

  /** A4. What could not be read is kept for an error report that nobody asks for. Only invalid input is. */
  'kept-errors': () => {
    const failures = [];
    return {
      create(i, options) {
        try {
          return subject.create(i, options);
        } catch (error) {
          failures.push({ i, error, input: new Array(1000).fill(i) });
          throw error;
        }
      },
    };
  },

  /**
   * A5. Sorted copies for quantiles, of frames that are used and long enough to be worth it. The collector's clean-up takes
   * them along, `dispose` does not.
   */
  'sorted-copies': () => {
    const copies = new Map();
    const collected = new FinalizationRegistry((number) => copies.delete(number));
    const numbers = new WeakMap();
    let last = 0;
    return {
      use(frame) {
        if (frame.shape.rows > 200) {
          const name = frame.names.at(-1);
          copies.set((last += 1), Array.from(frame.column(name)).sort((a, b) => a - b));
          numbers.set(frame, last);
          collected.register(frame, last, frame);
        }
        return subject.use(frame);
      },
      dispose(frame) {
        // Nothing is left to clean up, it says. The copy is.
        collected.unregister(frame);
        subject.dispose(frame);
      },
    };
  },

  /** A6. Frames of many columns get an index of their cells, which is never taken down. */
  'wide-index': () => {
    const indexes = [];
    return {
      create(i, options) {
        const frame = subject.create(i, options);
        if (frame.shape.columns > 50) {
          const index = new Map();
          for (const column of frame.names) {
            for (const [row, value] of frame.column(column).entries()) index.set(`${row}:${column}`, { row, column, text: `${value} in ${column}` });
          }
          indexes.push(index);
        }
        return frame;
      },
    };
  },

  /**
   * A7. A journal of what was used that is emptied at first and not any more later: it drifts only after longer work than any
   * other suite does with small frames.
   */
  'journal-drift': () => {
    let used = 0;
    let journal = [];
    return {
      use(frame) {
        const result = subject.use(frame);
        if (frame.shape.rows < 10) {
          journal.push({ number: (used += 1), rows: frame.shape.rows, at: performance.now() });
          if (used <= 20_000 && journal.length > 100) journal = [];
        }
        return result;
      },
    };
  },

  /** A8. Answers are kept by upload, and no upload comes twice. Only a server parses. */
  'kept-answers': () => {
    const answers = new Map();
    let upload;
    return {
      parse(text) {
        upload = text;
        return subject.parse(text);
      },
      aggregate(frame) {
        const answer = subject.aggregate(frame);
        answers.set(upload, answer);
        return answer;
      },
    };
  },

  /** A9. Series, which are frames of one column, are numbered, and the numbers kept. */
  'series-numbers': () => {
    const numbers = [];
    return {
      create(i, options) {
        if (options?.columns === 1) numbers.push({ number: i });
        return subject.create(i, options);
      },
    };
  },
};

const chosen = process.env.MUTANT;
if (!Object.hasOwn(mutants, chosen ?? '')) {
  throw new RangeError(`MUTANT=${chosen ?? ''}: there are: ${Object.keys(mutants).join(', ')}`);
}
const fault = mutants[chosen]();

export const create = fault.create ?? subject.create;
export const use = fault.use ?? subject.use;
export const dispose = fault.dispose ?? subject.dispose;
export const parse = fault.parse ?? subject.parse;
export const aggregate = fault.aggregate ?? subject.aggregate;
