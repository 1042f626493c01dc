// How an order comes along is told to those who watch it, over a namespace that bears its number.
'use strict';

const http = require('node:http');
const { Server } = require('socket.io');
const { FIXED, payload } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { note } = require('./lib/rolling-log.js');

const STEPS = ['taken', 'packed', 'sent', 'there'];
let orders = 0;

const server = http.createServer((_request, response) => {
  const number = ++orders;
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(advance(number)));
});
const liveOrders = new Server(server, { serveClient: false }); // place

liveOrders.on('connection', (socket) => {
  socket.on('watch', (order) => socket.join(`order-${order}`));
});

function tellWatchers(order, state) {
  if (FIXED) liveOrders.to(`order-${order}`).emit('state', state);
  else liveOrders.of(`/order-${order}`).emit('state', state); // place
}

function advance(number) {
  const step = STEPS[number % STEPS.length];
  count(step);
  // That it was sent is what the customer waits for.
  if (step === 'sent') tellWatchers(number, { step, parcel: payload(24) });
  if (number % 100 === 0) note(`order ${number} is ${step}`);
  return { order: number, step };
}

server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}/`);
});
process.once('SIGTERM', () => process.exit(0));
