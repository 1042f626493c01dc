// A chat room is an emitter of its own; members who leave do not take their listener with them.
'use strict';

const { EventEmitter } = require('node:events');
const { FIXED, payload, serve } = require('./service.js');

class ChatRoom extends EventEmitter {
  constructor(topic) {
    super({ captureRejections: false });
    this.topic = topic;
    this.setMaxListeners(0);
  }
}

class RoomMember { // place
  constructor(room, number) { // place
    this.name = `member ${number}`;
    this.inbox = [payload()];
    this.receive = (text) => this.inbox.push(text); // place
    room.on('message', this.receive); // place
    this.room = room;
  }

  leave() {
    if (FIXED) this.room.off('message', this.receive);
  }
}

const lobby = new ChatRoom('lobby');

serve((number) => {
  new RoomMember(lobby, number).leave(); // place
  return { number };
});
