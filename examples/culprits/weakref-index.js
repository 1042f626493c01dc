// Documents are held weakly by number and do go; the weak references and their numbers stay in the index.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');

class LeaseDocument {
  constructor(id) {
    this.id = id;
    this.body = payload(900);
  }
}

const documentsByLease = new Map(); // place

const collected = new FinalizationRegistry((id) => {
  if (documentsByLease.get(id)?.deref() === undefined) documentsByLease.delete(id);
});

function openDocument(id) {
  const known = documentsByLease.get(id)?.deref();
  if (known !== undefined) return known;
  const opened = new LeaseDocument(id);
  documentsByLease.set(id, new WeakRef(opened)); // place
  if (FIXED) collected.register(opened, id);
  return opened;
}

serve((number) => {
  const lease = openDocument(`lease/${2020 + (number % 6)}/${number}`);
  note(`opened ${lease.id}`);
  return { id: lease.id, bytes: lease.body.length };
});
