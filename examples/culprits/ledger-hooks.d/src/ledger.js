// The accounts, and the last bookings for the page of the bookkeepers.

const ACCOUNTS = 32;
const LAST_BOOKINGS = 100;

const balances = new Float64Array(ACCOUNTS);
const lastBookings = [];

export function book(account, cents) {
  balances[account % ACCOUNTS] += cents;
  lastBookings.push({ account, cents });
  if (lastBookings.length > LAST_BOOKINGS) lastBookings.shift();
  return cents;
}

export function balance(account) {
  return balances[account % ACCOUNTS];
}

export function averageBooking() {
  return lastBookings.reduce((sum, { cents }) => sum + cents, 0) / Math.max(1, lastBookings.length);
}
