import { clearNode, type Event } from 'effector';
import { FIXED, payload } from '../service.js';
import { BERTHS, mastersReported, occupancy, type Report } from './harbours';

export interface Enquiry {
  readonly ship: string;
  readonly harbour: string;
  readonly papers: string;
}

export function enquiryOf(number: number, harbour: string): Enquiry {
  return { ship: `IMO ${9_000_000 + number}`, harbour, papers: payload(150) }; // place
}

/** The masters' reports of the one harbour, as long as the ship waits for its answer. */
function reportsFor(enquiry: Enquiry): Event<Report> {
  return mastersReported.filter({ // place
    fn: (report) => report.harbour === enquiry.harbour && enquiry.papers.length > 0, // place
  }); // place
}

/** Free berths as of the latest report, even one that comes in while the answer is being made. */
export async function answerEnquiry(enquiry: Enquiry): Promise<number> {
  let taken = occupancy.getState()[enquiry.harbour];
  const reports = reportsFor(enquiry); // place
  reports.watch((report) => { // place
    taken = report.taken;
  }); // place
  await new Promise(setImmediate);
  if (FIXED) clearNode(reports, { deep: true });
  return BERTHS - taken;
}
