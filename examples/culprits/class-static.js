// A class keeps a register of all its instances.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

class InvoiceDraft { // place
  static issuedDrafts = []; // place

  constructor(number) { // place
    this.number = number;
    this.text = payload();
    InvoiceDraft.issuedDrafts.push(this); // place
    if (FIXED && InvoiceDraft.issuedDrafts.length > 100) InvoiceDraft.issuedDrafts.shift();
  }
}

serve((number) => ({ number: new InvoiceDraft(number).number })); // place
