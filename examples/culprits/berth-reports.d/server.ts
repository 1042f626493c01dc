import { serve } from '../service.js';
import { answerEnquiry, enquiryOf } from './enquiry';
import { BERTHS, HARBOURS, mastersReported, totalTaken } from './harbours';

const answersByHour = new Uint32Array(24);
const waitingShips: string[] = [];
const WAITING_SHOWN = 20;

/** The ships that found no berth, for the board at the quay: the last few only. */
function showWaiting(ship: string): void {
  waitingShips.push(ship);
  if (waitingShips.length > WAITING_SHOWN) waitingShips.shift();
}

serve(async (number: number) => {
  const harbour = HARBOURS[number % HARBOURS.length];
  if (number % 1500 === 0) mastersReported({ harbour, taken: (number / 1500) % BERTHS });
  const enquiry = enquiryOf(number, harbour); // place
  const berths = await answerEnquiry(enquiry); // place
  answersByHour[new Date().getHours()] += 1;
  if (berths < 30) showWaiting(enquiry.ship);
  return { ship: enquiry.ship, harbour, berths, taken: totalTaken.getState(), waiting: waitingShips.length };
});
