// Open tickets can be searched, to find those that ask the same; a ticket that is closed leaves the list, not the index.
'use strict';

const MiniSearch = require('minisearch');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');

const SYLLABLES = ['ba', 'dor', 'fin', 'gul', 'kem', 'las', 'mir', 'nol', 'pet', 'rus', 'sal', 'tov', 'vek', 'wim', 'zan'];
const WORDS = SYLLABLES.flatMap((first) => SYLLABLES.map((second) => first + second));

const ticketIndex = new MiniSearch({ // place
  fields: ['subject'],
  storeFields: ['subject', 'excerpt'],
});
const openTickets = new Map();

function word(number) {
  return WORDS[number % WORDS.length];
}

function openTicket(number) {
  const ticket = { // place
    id: number,
    subject: `${word(number * 7)} ${word(number * 11 + 3)} ${word(number * 13 + 5)}`,
    excerpt: payload(240),
  };
  openTickets.set(ticket.id, ticket);
  ticketIndex.add(ticket); // place
  return ticket;
}

function findSame(ticket) {
  const found = ticketIndex.search(ticket.subject, { combineWith: 'AND' });
  return found.filter(({ id }) => id !== ticket.id && openTickets.has(id)).slice(0, 3).map(({ id }) => id);
}

function closeTicket(ticket) {
  openTickets.delete(ticket.id);
  if (FIXED) ticketIndex.remove(ticket);
  count('closed');
}

serve(async (number) => {
  const ticket = openTicket(number); // place
  const same = number % 50 === 0 ? findSame(ticket) : [];
  await new Promise(setImmediate);
  closeTicket(ticket);
  return { ticket: ticket.id, same, open: openTickets.size };
});
