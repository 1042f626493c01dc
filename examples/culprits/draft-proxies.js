// Drafts are watched through proxies; a map remembers which draft has one already, and drafts that were sent.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');

class LetterDraft { // place
  constructor(number) { // place
    this.number = number;
    this.subject = '';
    this.text = payload(240);
  }
}

const proxyByDraft = FIXED ? new WeakMap() : new Map(); // place

const watcher = {
  set(draft, name, value) {
    count(name);
    draft[name] = value;
    return true;
  },
};

function watched(draft) {
  let proxy = proxyByDraft.get(draft);
  if (proxy === undefined) {
    proxy = new Proxy(draft, watcher); // place
    proxyByDraft.set(draft, proxy); // place
  }
  return proxy;
}

serve((number) => {
  const draft = watched(new LetterDraft(number)); // place
  draft.subject = `Letter ${number}`;
  return { sent: watched(draft).number };
});
