import { payload, serve } from '../service.js';
import { note } from '../lib/rolling-log.js';
import { Cellar } from './cellar';

const TOWNS = ['Husum', 'Leer', 'Norden', 'Stade', 'Varel'];
const cellarByTown = new Map(TOWNS.map((town) => [town, new Cellar(town)]));

/** Stands for the database of events; every fifty versions it takes a snapshot, the last one counts. */
class EventStore {
  stored = 0;
  readonly snapshotOf = new Map<string, string>();

  async commit(cellar: Cellar): Promise<void> {
    const events = cellar.eventsAfter(cellar.committed);
    cellar.markCommitted();
    await null;
    this.stored += events.length;
    if (cellar.version % 50 === 0) {
      this.snapshotOf.set(cellar.id, JSON.stringify(cellar));
      note(`snapshot of ${cellar.id} at ${cellar.version}`);
    }
  }
}

const eventStore = new EventStore();

serve(async (number: number) => {
  const cellar = cellarByTown.get(TOWNS[number % TOWNS.length])!;
  cellar.move(number % 12, payload(260));
  await eventStore.commit(cellar);
  return { cellar: cellar.id, version: cellar.version, stored: eventStore.stored };
});
