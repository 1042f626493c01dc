// The state of the harbours: how many berths are taken, as the harbour masters report it.

import { createEvent, createStore } from 'effector';

export type Occupancy = Readonly<Record<string, number>>;

export interface Report {
  readonly harbour: string;
  readonly taken: number;
}

export const HARBOURS = ['Husum', 'Esbjerg', 'Lerwick', 'Bergen', 'Calais'] as const;
export const BERTHS = 64;

export const mastersReported = createEvent<Report>(); // place
export const dayEnded = createEvent();

const atDawn: Occupancy = Object.fromEntries(HARBOURS.map((harbour, index) => [harbour, 10 + index * 5]));

export const occupancy = createStore<Occupancy>(atDawn)
  .on(mastersReported, (state, { harbour, taken }) => ({ ...state, [harbour]: taken }))
  .reset(dayEnded);

/** For the page of the coast guard: it is made once. */
export const totalTaken = occupancy.map((state) => Object.values(state).reduce((sum, taken) => sum + taken, 0));
