// Who watches a ship is in a set per ship and in a table of when each was last heard of; who hangs up stays in both.
'use strict';

const { WebSocket, WebSocketServer } = require('ws');
const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');

const watchersByShip = new Map(); // place
for (let ship = 0; ship < 20; ship += 1) watchersByShip.set(`/ship-${ship}`, new Set()); // place
const watcherHeardAt = new Map(); // place

const positions = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false }); // place

positions.on('connection', (watcher, request) => { // place
  watchersByShip.get(request.url).add(watcher); // place
  watcherHeardAt.set(watcher, Date.now()); // place
  watcher.on('pong', () => watcherHeardAt.set(watcher, Date.now())); // place
  watcher.on('close', () => {
    note(`${request.url} has a watcher less`);
    if (!FIXED) return;
    watchersByShip.get(request.url).delete(watcher);
    watcherHeardAt.delete(watcher);
  });
  watcher.send(JSON.stringify({ ship: request.url, at: payload(30) }));
});

/** Stands for the page of a visitor: it looks where the ship is, and is left. */
function lookOnce(ship) {
  return new Promise((resolve, reject) => {
    const page = new WebSocket(`ws://127.0.0.1:${positions.address().port}/ship-${ship}`);
    let seen;
    page.on('message', (position) => {
      seen = JSON.parse(position);
      page.close();
    });
    page.on('close', () => resolve(seen));
    page.on('error', reject);
  });
}

serve((number) => {
  // One visitor in ten looks at the live map.
  if (number % 10 !== 0) return { ships: watchersByShip.size };
  return lookOnce((number / 10) % 20);
});
