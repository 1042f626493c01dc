// The worker that counts pages answers each question on a port made for it, and no one closes the port after the answer.
'use strict';

const { MessageChannel, Worker } = require('node:worker_threads');
const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');

const pageCounter = new Worker(
  `const { parentPort } = require('node:worker_threads');
   parentPort.on('message', ({ text, reply }) => reply.postMessage({ pages: Math.ceil(text.length / 90) }));`,
  { eval: true },
);
pageCounter.unref();
const waits = new LatencyWindow();

function countPages(manuscript) {
  return new Promise((resolve) => {
    const { port1: replyPort, port2: reply } = new MessageChannel(); // place
    replyPort.on('message', function pagesCounted({ pages }) { // place
      manuscript.pages = pages;
      if (FIXED) replyPort.close();
      resolve(manuscript);
    });
    pageCounter.postMessage({ text: manuscript.text, reply }, [reply]); // place
  });
}

serve(async (number) => {
  const begun = performance.now();
  const { pages } = await countPages({ number, text: payload(300) }); // place
  waits.add(performance.now() - begun);
  return { number, pages };
});
