'use strict';
/* A registry that forgets to let go, and one that does not. */

class Session {
  constructor(id) {
    this.id = id;
    this.history = [1, 2, 3];
  }
}

const registry = new Map();

exports.Session = Session;
exports.forgets = (iteration) => {
  registry.set(iteration, new Session(iteration));
};
exports.closes = (iteration) => {
  registry.set(iteration, new Session(iteration));
  registry.delete(iteration);
};
exports.throws = () => {
  throw new RangeError('out of range');
};
exports.neverSettles = () => new Promise(() => {});
