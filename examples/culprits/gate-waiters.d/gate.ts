// The gate of the yard: closed by day, opened by the porter, shut again when the wind is strong.

import { assign, createActor, setup } from 'xstate';

type GateEvent = { type: 'PORTER_OPENS' } | { type: 'PORTER_CLOSES' } | { type: 'WIND'; knots: number };

const gateMachine = setup({
  types: {
    context: {} as { knots: number },
    events: {} as GateEvent,
  },
  actions: {
    measure: assign({ knots: ({ event }) => (event.type === 'WIND' ? event.knots : 0) }),
  },
  guards: {
    calm: ({ context }) => context.knots < 40,
  },
}).createMachine({
  id: 'gate',
  context: { knots: 0 },
  initial: 'closed',
  on: { WIND: { actions: 'measure' } },
  states: {
    closed: { on: { PORTER_OPENS: { target: 'open', guard: 'calm' } } },
    open: { on: { PORTER_CLOSES: 'closed' } },
  },
});

export const yardGate = createActor(gateMachine); // place
yardGate.start();
