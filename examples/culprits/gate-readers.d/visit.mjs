// A visitor comes in by a gate. Should the gate jam meanwhile, the visitor is sent to another one.
import { FIXED, payload } from '../service.js';
import { admit, GATES, jamBoard } from './gates.mjs';

export class Visit { // place
  constructor(number) { // place
    this.number = number;
    this.ticket = payload(180); // place
    this.gate = number % GATES;
    this.detours = 0;
  }

  turnAway() {
    this.gate = (this.gate + 1) % GATES;
    this.detours += 1;
  }
}

/** Sends the visitor on, whenever the gate that he is at jams. */
async function watchJams(visit, jams) { // place
  for await (const gate of jams) { // place
    if (gate === visit.gate) visit.turnAway();
  }
}

export async function comeIn(visit) {
  const jams = jamBoard.read(); // place
  const watched = watchJams(visit, jams); // place
  await new Promise(setImmediate);
  const admitted = admit(visit.gate);
  if (FIXED) {
    await jams.return();
    await watched;
  }
  return admitted;
}
