// Everybody leaves the meeting in the end; the room, empty by then, stays in the table of rooms.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');

const joinTimes = new LatencyWindow(128);
const attendeesByMeeting = new Map(); // place

class MeetingAttendee {
  constructor(name) {
    this.name = name;
    this.device = payload(80);
  }
}

function join(meeting, attendee) {
  let attendees = attendeesByMeeting.get(meeting);
  if (attendees === undefined) {
    attendees = new Set(); // place
    attendeesByMeeting.set(meeting, attendees); // place
  }
  attendees.add(attendee);
}

function leave(meeting, attendee) {
  const attendees = attendeesByMeeting.get(meeting);
  attendees.delete(attendee);
  if (FIXED && attendees.size === 0) attendeesByMeeting.delete(meeting);
}

serve(async (number) => {
  const begun = performance.now();
  const meeting = `meeting-${number.toString(36)}`;
  const host = new MeetingAttendee('host');
  const guest = new MeetingAttendee('guest');
  join(meeting, host);
  join(meeting, guest);
  await new Promise(setImmediate);
  leave(meeting, guest);
  leave(meeting, host);
  joinTimes.add(performance.now() - begun);
  return { meeting, median: joinTimes.percentile(0.5) };
});
