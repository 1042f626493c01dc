// Makes a heap snapshot of a process that looks like a service: sessions, orders, caches, listeners, strings.
// Usage: node make.mjs FILE [MILLIONS OF NODES] [SNAPSHOTS OF THE SAME PROCESS]
import v8 from 'node:v8';
import { EventEmitter } from 'node:events';

const [file, millions = '0.9', snapshots = '1'] = process.argv.slice(2);
if (!file) throw new Error('usage: node make.mjs FILE [MILLIONS] [SNAPSHOTS]');
// About 27 nodes per round of the loop below, counted in the snapshots of Node 20.
const rounds = Math.round((Number(millions) * 1e6) / 27);

class Money { constructor(amount, currency) { this.amount = amount; this.currency = currency; } }
class OrderLine { constructor(i) { this.sku = `sku-${i % 977}`; this.price = new Money(i + 0.25, 'EUR'); this.tags = [`t${i % 13}`, i]; } }
class Order { constructor(i) { this.id = `order-${i}`; this.lines = [new OrderLine(i), new OrderLine(i + 1)]; this.created = new Date(1.6e12 + i); this.related = []; } }
class Session extends EventEmitter {
  constructor(i) { super(); this.user = { id: i, name: `user ${i}`, mail: `${i}@example.org` }; this.orders = new Map(); }
}

const sessions = new Map();
const bySku = new Map();
const meta = new WeakMap();
const log = [];
const latest = new Array(64);
const chain = { next: null };
let tail = chain;

function fill(from, to) {
  for (let i = from; i < to; i++) {
    if (i % 4 === 0) {
      const session = new Session(i);
      session.on('order', (order) => log.push(order.id + session.user.id));
      sessions.set(session.user.id, session);
      meta.set(session, { seen: i, from: '127.0.0.1' });
    }
    const order = new Order(i);
    sessions.get(i - (i % 4)).orders.set(order.id, order);
    // A service's objects know one another: about four references per object.
    for (let k = 1; k <= 24 && i >= k; k++) order.related.push(latest[(i - k) % latest.length]);
    latest[i % latest.length] = order;
    const sku = order.lines[0].sku;
    bySku.set(sku, (bySku.get(sku) ?? new Set()).add(order));
    if (i % 10 === 0) { tail.next = { i, next: null, text: `entry ${i} ` + 'x'.repeat(i % 50) }; tail = tail.next; }
    if (i % 25 === 0) log.push({ at: i, level: 'info', message: `order ${order.id} of ${i}` });
  }
}

let made = 0;
for (let taken = 1; taken <= Number(snapshots); taken++) {
  const goal = Math.round(rounds * (1 - 0.1 * (Number(snapshots) - taken)));
  fill(made, goal);
  made = goal;
  const name = Number(snapshots) > 1 ? file.replace(/(\.heapsnapshot)?$/, `-${taken}.heapsnapshot`) : file;
  v8.writeHeapSnapshot(name);
  console.log(name);
}
globalThis.keep = { sessions, bySku, log, chain };
