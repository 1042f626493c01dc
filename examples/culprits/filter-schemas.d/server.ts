import { payload, serve } from '../service.js';
import { count } from '../lib/hourly-counts.js';
import { schemaFor, type SearchView } from './view-schemas';

const tables = ['orders', 'returns', 'suppliers', 'contracts'];

let current: SearchView = { table: 'orders', columns: ['town', 'clerk'], openedAt: 0 };

serve((number: number) => {
  // Every fourth request opens a view, the others search in it.
  if (number % 4 === 0) {
    const table = tables[(number / 4) % tables.length];
    current = { table, columns: ['town', 'clerk'], openedAt: Date.now() + number };
  }
  const filters = schemaFor(current).safeParse({ town: payload(20), clerk: `clerk ${number % 9}` });
  count(filters.success ? 'searched' : 'refused');
  return { table: current.table, good: filters.success };
});
