// Mails wait in a linked list for a sender that stopped taking them.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

class MailNode { // place
  constructor(mail) { // place
    this.mail = mail;
    this.next = null;
  }
}

class Outbox { // place
  constructor() { // place
    this.head = null;
    this.tail = null;
    this.waiting = 0;
  }

  add(mail) {
    const node = new MailNode(mail); // place
    if (this.tail === null) this.head = node;
    else this.tail.next = node;
    this.tail = node;
    this.waiting += 1;
    if (FIXED) while (this.waiting > 50) this.take();
  }

  take() {
    this.head = this.head.next;
    this.waiting -= 1;
  }
}

const outbox = new Outbox(); // place

serve((number) => {
  outbox.add({ to: `user-${number}@example.org`, text: payload() });
  return { number };
});
