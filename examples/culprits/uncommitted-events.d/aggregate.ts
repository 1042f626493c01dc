// What every aggregate is: it records events, and forgets them when they are committed.

export abstract class DomainEvent {
  readonly at = Date.now();

  constructor(readonly aggregate: string, readonly version: number) {}
}

export abstract class Aggregate {
  #uncommittedEvents: DomainEvent[] = [];
  version = 0;

  constructor(readonly id: string) {}

  protected abstract apply(event: DomainEvent): void;

  protected record(event: DomainEvent): void {
    this.version = event.version;
    this.apply(event);
    this.#uncommittedEvents.push(event);
  }

  eventsAfter(version: number): DomainEvent[] {
    const events = this.#uncommittedEvents;
    let first = events.length;
    while (first > 0 && events[first - 1].version > version) first -= 1;
    return events.slice(first);
  }

  markCommitted(): void {
    this.#uncommittedEvents = [];
  }
}
