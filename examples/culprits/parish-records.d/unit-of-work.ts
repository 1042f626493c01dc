// What was loaded and what was changed, so that an entity is loaded once and stored once.

export interface Entity {
  readonly id: string;
}

export class UnitOfWork<E extends Entity> { // place
  private readonly identityMap = new Map<string, E>(); // place
  private dirty = new Set<E>();

  constructor(private readonly store: (entities: readonly E[]) => Promise<void>) {} // place

  load(id: string, read: (id: string) => E): E {
    const known = this.identityMap.get(id);
    if (known) return known;
    const entity = read(id); // place
    this.identityMap.set(id, entity); // place
    return entity;
  }

  changed(entity: E): void {
    this.dirty.add(entity);
  }

  async flush(): Promise<number> {
    const changes = [...this.dirty];
    this.dirty = new Set();
    if (changes.length > 0) await this.store(changes);
    return changes.length;
  }

  clear(): void {
    this.identityMap.clear();
    this.dirty.clear();
  }
}
