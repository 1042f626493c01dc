// Private data sits in a WeakMap "so it cannot leak", but a list of all keys is kept to be able to walk over them.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

class Visitor { // place
  constructor(number) { // place
    this.number = number;
  }
}

const visitorDetails = new WeakMap(); // place
const everyVisitor = []; // place

serve((number) => {
  const visitor = new Visitor(number); // place
  visitorDetails.set(visitor, { history: [payload()], since: Date.now() }); // place
  if (FIXED && everyVisitor.length >= 100) everyVisitor.length = 0;
  everyVisitor.push(visitor); // place
  return { number };
});
