// Four ways to keep a frame for ever, each as it is met in programs. Each takes a frame that was just made.

import { EventEmitter } from 'node:events';

/** How numbers are printed; may change while the program runs. */
class NumberFormat extends EventEmitter {
  locale = 'en';
}

const numberFormat = new NumberFormat().setMaxListeners(0);

/** When frames were collected, for a statistic. */
const frameAges = new FinalizationRegistry((plan) => plan.collected());

/** Work to be done once somebody looks. */
const pendingSummaries = [];

export const leaks = {
  /** Retained event listener: the frame listens to something that lives longer, and nobody takes the listener off. */
  listener(frame) {
    numberFormat.on('changed', () => frame.describe());
  },

  /** Global reference: "only for debugging". */
  global(frame) {
    globalThis.framesForDebugging ??= [];
    globalThis.framesForDebugging.push(frame);
  },

  /**
   * Circular reference: plan and frame refer to each other. That alone is none to a collector that traces, but the registry
   * holds the plan until the frame is collected, and so the frame.
   */
  cycle(frame) {
    const plan = { frame, begun: Date.now(), collected() {} };
    frame.plan = plan;
    frameAges.register(frame, plan);
  },

  /** Closure capture: what is to be done later closes over the frame, and later never comes. */
  closure(frame) {
    pendingSummaries.push(() => frame.describe());
  },
};

/** The leak of that name, or what keeps nothing where there is no name. */
export function leakNamed(name) {
  if (!name) return () => {};
  if (!Object.hasOwn(leaks, name)) throw new RangeError(`LEAK=${name}: there are: ${Object.keys(leaks).join(', ')}`);
  return leaks[name];
}
