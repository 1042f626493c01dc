import { payload } from '../../service.js';
import { book } from './ledger.js';
import { onShutdown } from './shutdown.js';

/** Writes the entries of one request: they are booked together, or at the end of the day if the request is cut off. */
export class EntryWriter { // place
  constructor(number) { // place
    this.number = number;
    this.voucher = payload(260); // place
    this.entries = [];
    this.flushed = false;
    this.forgetHook = onShutdown(this.flush.bind(this)); // place
  }

  add(account, cents) {
    this.entries.push({ account, cents });
  }

  flush() {
    if (this.flushed) return 0;
    this.flushed = true;
    let booked = 0;
    for (const { account, cents } of this.entries) booked += book(account, cents);
    this.entries.length = 0;
    return booked;
  }

  close() {
    this.flush();
    this.forgetHook();
  }
}
