// The gates of the stadium. Each says when it jams; most evenings none does.

export const GATES = 18;

/** Reads, one after the other, what the gates say from now on. */
class JamReader { // place
  #board;
  #heard = [];
  #wake;

  constructor(board) { // place
    this.#board = board;
  }

  hear(gate) {
    if (this.#wake) {
      const wake = this.#wake;
      this.#wake = undefined;
      wake({ done: false, value: gate });
    } else {
      this.#heard.push(gate);
    }
  }

  next() {
    if (this.#heard.length > 0) return Promise.resolve({ done: false, value: this.#heard.shift() });
    return new Promise((resolve) => { // place
      this.#wake = resolve; // place
    });
  }

  return() {
    this.#board.forget(this);
    this.#wake?.({ done: true, value: undefined });
    this.#wake = undefined;
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator]() {
    return this;
  }
}

class JamBoard {
  #readers = new Set(); // place

  read() {
    const reader = new JamReader(this); // place
    this.#readers.add(reader); // place
    return reader;
  }

  forget(reader) {
    this.#readers.delete(reader);
  }

  jammed(gate) {
    for (const reader of this.#readers) reader.hear(gate);
  }
}

export const jamBoard = new JamBoard(); // place

const admittedByGate = new Uint32Array(GATES);

export function admit(gate) {
  admittedByGate[gate] += 1;
  return admittedByGate[gate];
}

export function busiestGate() {
  return admittedByGate.indexOf(Math.max(...admittedByGate));
}
