// A worker that writes invoices: jobs of a BullMQ queue, from a real Redis.
//
//   node worker.mjs            every invoice is kept, in case its job is repeated
//   node worker.mjs --fixed    only the last 500
//
// REDIS_PORT says where Redis is (default 6379). SIGTERM ends the worker after the jobs in hand.

import { createHash } from 'node:crypto';
import { Worker } from 'bullmq';
import { connection, QUEUE } from './queue.mjs';

const FIXED = process.argv.includes('--fixed');
const INVOICES_KEPT = 500;

class Invoice {
  constructor(job) {
    this.number = job.data.number;
    this.lines = Array.from({ length: 4 }, (_, line) => ({ line, cents: (this.number * 31 + line * 7) % 10_000 }));
    this.seal = createHash('sha256').update(JSON.stringify(this.lines)).digest('base64url');
  }
}

/** A job that is repeated, after its worker was thought dead, gets the invoice that was written the first time. */
const invoicesByJob = new Map();

async function write(job) {
  const known = invoicesByJob.get(job.id);
  if (known !== undefined) return { seal: known.seal };
  const invoice = new Invoice(job);
  invoicesByJob.set(job.id, invoice);
  // A Map keeps the order of insertion: its first key is the oldest.
  if (FIXED && invoicesByJob.size > INVOICES_KEPT) invoicesByJob.delete(invoicesByJob.keys().next().value);
  return { seal: invoice.seal };
}

const worker = new Worker(QUEUE, write, { connection, concurrency: 10 });
worker.on('error', (error) => console.error(`worker: ${error.message}`));
worker.on('failed', (job, error) => console.error(`job ${job?.id} failed: ${error.message}`));

await worker.waitUntilReady();
console.log('ready for jobs');

process.once('SIGTERM', async () => {
  await worker.close();
  process.exit(0);
});
