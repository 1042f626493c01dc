// The warehouse answers by an event that is named after the question; the listener is taken off, the name stays.
'use strict';

const mitt = require('mitt');
const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');

const warehouseReplies = mitt(); // place
const answerTimes = new LatencyWindow();
let questions = 0;

/** Stands for the warehouse, which hears of questions by a queue and answers when it likes. */
function sendQuestion(topic, article) {
  setImmediate(() => {
    warehouseReplies.emit(topic, { article, pieces: article % 17, shelf: payload(12) });
  });
}

function askWarehouse(article) {
  questions += 1;
  const topic = `answer/warehouse/${questions}`; // place
  return new Promise((resolve) => {
    const takeReply = (reply) => {
      warehouseReplies.off(topic, takeReply);
      if (FIXED) warehouseReplies.all.delete(topic);
      resolve(reply);
    };
    warehouseReplies.on(topic, takeReply); // place
    sendQuestion(topic, article);
  });
}

serve(async (number) => {
  const asked = performance.now();
  const reply = await askWarehouse(number % 900);
  answerTimes.add(performance.now() - asked);
  return { ...reply, slowest: answerTimes.percentile(0.99) };
});
