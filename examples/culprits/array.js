// An audit trail in memory: entries are added, and flushed only in the fixed service.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

class AuditTrail {
  constructor() {
    this.auditEntries = []; // place
  }

  record(action) {
    this.auditEntries.push({ action, at: Date.now(), detail: payload(220) }); // place
    if (FIXED && this.auditEntries.length >= 100) this.auditEntries.length = 0;
  }
}

const trail = new AuditTrail();

serve((number) => {
  trail.record(`read page ${number}`);
  return { number };
});
