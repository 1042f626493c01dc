// A forgotten debugging aid hangs every question at the global object.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

class SearchQuestion { // place
  constructor(number) { // place
    this.number = number;
    this.words = payload().match(/.{30}/g);
  }
}

globalThis.recentQuestions = []; // place

serve((number) => {
  globalThis.recentQuestions.push(new SearchQuestion(number)); // place
  if (FIXED) globalThis.recentQuestions.length = Math.min(globalThis.recentQuestions.length, 50);
  return { number };
});
