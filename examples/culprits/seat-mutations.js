// The service takes its seat bookings through the same client library as the pages do, for the retries. On a server, that
// library throws away no mutation that is over, unless it is told when.
'use strict';

const { MutationObserver, QueryClient } = require('@tanstack/query-core');
const { FIXED, payload, serve } = require('./service.js');
const { BoundedCache } = require('./lib/bounded-cache.js');
const { LastLines } = require('./lib/last-lines.js');

const bookingClient = new QueryClient({ // place
  defaultOptions: { mutations: { retry: 2, ...(FIXED ? { gcTime: 0 } : {}) } },
});
const plans = new BoundedCache(25);
const lines = new LastLines(32);

async function reserve({ row, seat, guest }) {
  await null;
  if (seat < 0) throw new Error(`there is no seat ${seat} in row ${row}`);
  return { ticket: `${row}-${seat}`, guest: guest.length };
}

async function book(row, seat) {
  const booking = new MutationObserver(bookingClient, { mutationKey: ['book', row], mutationFn: reserve }); // place
  try {
    return await booking.mutate({ row, seat, guest: payload(80) }); // place
  } finally {
    booking.reset();
  }
}

serve(async (number) => {
  const plan = plans.get(number % 35, (row) => ({ row, seats: 30 }));
  const { ticket } = await book(plan.row, number % plan.seats); // place
  lines.add(`ticket ${ticket}`);
  return { number, ticket, before: lines.latest() };
});
