import { FIXED, payload, serve } from '../service.js';
import { SessionCache } from '../lib/session-cache.js';
import { BerthPage } from './berth-page';
import { HarbourBoard } from './board';

const harbourBoard = new HarbourBoard(); // place
const pilots = new SessionCache(60);

serve((number: number) => {
  if (number % 1500 === 0) harbourBoard.wait((number / 1500) % 7);
  const pilot = pilots.touch(`pilot-${number % 90}`, (name: string) => ({ name, licence: payload(40) }));
  const page = new BerthPage(harbourBoard, number % 24, payload(60)); // place
  const answer = { headline: page.headline, berths: harbourBoard.summary, pilot: pilot.name };
  if (FIXED) page.leave();
  return answer;
});
