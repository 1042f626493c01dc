import { payload, serve } from '../service.js';
import { count } from '../lib/hourly-counts.js';
import { note } from '../lib/rolling-log.js';
import { NameTrie } from './name-trie';

const reservedNames = new NameTrie(); // place
for (const name of ['index', 'about', 'contact', 'imprint']) reservedNames.reserve(name);

serve(async (number: number) => {
  const name = `draft-${payload(9)}`;
  const free = reservedNames.reserve(name); // place
  await new Promise((resolve) => setImmediate(resolve));
  const similar = reservedNames.startingWith(name.slice(0, 7));
  if (free) reservedNames.giveBack(name);
  count(free ? 'free' : 'taken');
  if (number % 250 === 0) note(`${reservedNames.size} names are reserved`);
  return { name, free, similar };
});
