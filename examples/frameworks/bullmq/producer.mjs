// Makes jobs and waits until they are done, as a driver of `plimsoll check --op-cmd`: reads lines `run N`, answers
// `done N errors E` once the last of N jobs is finished.
//
// REDIS_PORT says where Redis is (default 6379).

import { createInterface } from 'node:readline';
import { Queue, QueueEvents } from 'bullmq';
import { connection, QUEUE } from './queue.mjs';

/** More at once would measure how Redis keeps a long list. */
const BATCH = 500;

const queue = new Queue(QUEUE, { connection, defaultJobOptions: { removeOnComplete: true, removeOnFail: true, attempts: 1 } });
const events = new QueueEvents(QUEUE, { connection });

let number = 0;
let [completed, failed, batchDone] = [0, 0, undefined];
const settle = () => {
  if (batchDone !== undefined && completed + failed >= batchDone.of) batchDone.resolve();
};
events.on('completed', () => {
  completed += 1;
  settle();
});
events.on('failed', () => {
  failed += 1;
  settle();
});

await Promise.all([queue.waitUntilReady(), events.waitUntilReady()]);

/** Does `wanted` jobs; resolves with how many of them failed. */
async function run(wanted) {
  let errors = 0;
  for (let left = wanted; left > 0; left -= BATCH) {
    const size = Math.min(BATCH, left);
    [completed, failed] = [0, 0];
    const done = new Promise((resolve) => {
      batchDone = { of: size, resolve };
    });
    await queue.addBulk(Array.from({ length: size }, () => ({ name: 'invoice', data: { number: (number += 1) } })));
    await done;
    errors += failed;
  }
  return errors;
}

for await (const line of createInterface({ input: process.stdin })) {
  const wanted = /^run (\d+)$/.exec(line.trim());
  if (wanted === null) continue;
  const operations = Number(wanted[1]);
  const errors = await run(operations);
  console.log(`done ${operations} errors ${errors}`);
}

await events.close();
await queue.close();
