// What is to be done after a commit waits in the connection for it; a rollback leaves it there.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');
const { count } = require('./lib/hourly-counts.js');

class StockConnection { // place
  #hooksByTransaction = new Map(); // place
  #transactions = 0;

  begin() {
    const transaction = ++this.#transactions;
    this.#hooksByTransaction.set(transaction, []); // place
    return transaction;
  }

  afterCommit(transaction, hook) {
    this.#hooksByTransaction.get(transaction).push(hook); // place
  }

  async commit(transaction) {
    await null;
    const hooks = this.#hooksByTransaction.get(transaction);
    this.#hooksByTransaction.delete(transaction);
    for (const hook of hooks) hook();
  }

  async rollback(transaction) {
    await null;
    count('rollback');
    if (FIXED) this.#hooksByTransaction.delete(transaction);
  }
}

const connections = Array.from({ length: 4 }, () => new StockConnection()); // place

async function moveStock(connection, move) {
  const transaction = connection.begin(); // place
  connection.afterCommit(transaction, function announceMove() { // place
    note(`${move.pieces} pieces of ${move.article}: ${move.reason}`);
  });
  // Nothing is taken from an empty shelf.
  if (move.pieces > move.onShelf) await connection.rollback(transaction);
  else await connection.commit(transaction);
  return { article: move.article, moved: Math.min(move.pieces, move.onShelf) };
}

serve((number) => {
  const move = { article: number % 300, pieces: number % 6, onShelf: number % 4, reason: payload(240) }; // place
  return moveStock(connections[number % connections.length], move);
});
