import { serve } from '../service.js';
import { busiestGate, GATES, jamBoard } from './gates.mjs';
import { comeIn, Visit } from './visit.mjs';

const WINDOW = 128;
const waits = new Float64Array(WINDOW);
const perSecond = new Map();
let admissions = 0;

/** Visitors per second, of the last minute. */
function countSecond() {
  const second = Math.floor(Date.now() / 1000);
  perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
  if (perSecond.size > 60) perSecond.delete(perSecond.keys().next().value);
}

serve(async (number) => {
  const began = performance.now();
  const visit = new Visit(number); // place
  const admitted = await comeIn(visit); // place
  waits[number % WINDOW] = performance.now() - began;
  countSecond();
  admissions += 1;
  if (number % 1700 === 0) jamBoard.jammed(number % GATES);
  const answer = { visit: number, gate: visit.gate, admitted, detours: visit.detours };
  if (number % 64 === 0) {
    answer.busiest = busiestGate();
    answer.crowded = admissions > GATES * 100;
    answer.longestWait = Math.max(...waits);
  }
  return answer;
});
