import { payload, serve } from '../service.js';
import { count } from '../lib/hourly-counts.js';
import { arrive } from './arrivals';
import { yardGate } from './gate';

serve(async (number: number) => {
  if (number % 1000 === 0) yardGate.send({ type: 'WIND', knots: 5 + (number % 7) });
  const lorry = { plate: `HB-${number % 5000}`, freight: payload(150), admitted: false }; // place
  const answer = await arrive(lorry); // place
  count(lorry.admitted ? 'in' : 'outside');
  return { plate: lorry.plate, answer };
});
