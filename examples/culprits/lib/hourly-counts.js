// Counts by hour of the day and by outcome.
'use strict';

const hours = Array.from({ length: 24 }, () => Object.create(null));

exports.count = (outcome) => {
  const hour = hours[new Date().getUTCHours()];
  hour[outcome] = (hour[outcome] ?? 0) + 1;
};

exports.today = () => hours;
