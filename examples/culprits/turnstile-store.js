// The state of the turnstiles is in one store; a page that shows them subscribes to it and is never unsubscribed.
'use strict';

const { combineReducers, legacy_createStore: createStore } = require('redux');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { note } = require('./lib/rolling-log.js');

function open(state = { north: 4, south: 6 }, action) {
  switch (action.type) {
    case 'turnstiles/opened':
      return { ...state, [action.gate]: action.turnstiles };
    case 'turnstiles/closed':
      return { ...state, [action.gate]: 0 };
    default:
      return state;
  }
}

function waiting(state = 0, action) {
  return action.type === 'crowd/counted' ? action.people : state;
}

const turnstiles = createStore(combineReducers({ open, waiting })); // place

class TurnstilePage { // place
  constructor(gate, banner) { // place
    this.gate = gate;
    this.banner = banner;
    this.shown = turnstiles.getState().open[gate];
    const followStore = () => { // place
      this.shown = turnstiles.getState().open[gate];
    };
    this.unsubscribe = turnstiles.subscribe(followStore); // place
  }

  render() {
    return `<h1>${this.gate}</h1><p>${this.shown} turnstiles are open. ${this.banner}</p>`;
  }
}

serve((number) => {
  if (number % 2500 === 0) {
    const gate = number % 5000 === 0 ? 'north' : 'south';
    turnstiles.dispatch({ type: 'turnstiles/opened', gate, turnstiles: 3 + ((number / 2500) % 5) });
    note(`${turnstiles.getState().open[gate]} at ${gate}`);
  }
  const page = new TurnstilePage(number % 3 === 0 ? 'south' : 'north', payload(140)); // place
  const html = page.render();
  count(page.gate);
  if (FIXED) page.unsubscribe();
  return { html, waiting: turnstiles.getState().waiting };
});
