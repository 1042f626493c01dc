// A chat with the support is listed by its visitor and hears who of the staff comes; who was typing as it closed is listed again.
'use strict';

const { EventEmitter } = require('node:events');
const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');
const { count } = require('./lib/hourly-counts.js');

const staffPresence = new EventEmitter().setMaxListeners(0); // place

class SupportChat { // place
  #greeting;
  closed = false;

  constructor(visitor, topic) { // place
    this.visitor = visitor;
    this.typedAt = 0;
    this.staff = 0;
    this.#greeting = `Hello, what about ${topic}?`;
    this.staffCame = (present) => { // place
      this.staff = present;
    };
  }

  hello() {
    return this.#greeting;
  }
}

class ChatDesk { // place
  chatsByVisitor = new Map(); // place

  open(visitor, topic) {
    const chat = new SupportChat(visitor, topic); // place
    this.#list(chat);
    return chat;
  }

  /** Also lists those who come back from a lost connection. */
  typed(chat) {
    if (FIXED && chat.closed) return;
    chat.typedAt = Date.now();
    if (!this.chatsByVisitor.has(chat.visitor)) this.#list(chat); // place
  }

  close(chat) {
    chat.closed = true;
    this.chatsByVisitor.delete(chat.visitor);
    staffPresence.off('came', chat.staffCame);
  }

  #list(chat) {
    this.chatsByVisitor.set(chat.visitor, chat); // place
    staffPresence.on('came', chat.staffCame); // place
  }
}

const chatDesk = new ChatDesk(); // place

serve(async (number) => {
  if (number % 2000 === 0) staffPresence.emit('came', 3 + ((number / 2000) % 4));
  const chat = chatDesk.open(`visitor-${number}`, payload(120)); // place
  setImmediate(() => chatDesk.typed(chat));
  await null;
  const hello = chat.hello();
  chatDesk.close(chat);
  count('chat');
  if (number % 100 === 0) note(`${chatDesk.chatsByVisitor.size} chats are open`);
  return { hello, staff: chat.staff };
});
