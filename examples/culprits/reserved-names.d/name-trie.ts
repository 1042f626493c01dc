import { FIXED } from '../service.js';

class TrieNode { // place
  readonly children = new Map<string, TrieNode>(); // place
  reserved = false;
}

/** Names by their letters, so that those with a common beginning are found quickly. */
export class NameTrie { // place
  private readonly root = new TrieNode(); // place
  private names = 0;

  get size(): number {
    return this.names;
  }

  reserve(name: string): boolean {
    let node = this.root;
    for (const letter of name) {
      let next = node.children.get(letter);
      if (next === undefined) {
        next = new TrieNode(); // place
        node.children.set(letter, next); // place
      }
      node = next;
    }
    if (node.reserved) return false;
    node.reserved = true;
    this.names += 1;
    return true;
  }

  giveBack(name: string): void {
    const path: TrieNode[] = [this.root];
    for (const letter of name) {
      const next = path[path.length - 1].children.get(letter);
      if (next === undefined) return;
      path.push(next);
    }
    const last = path[path.length - 1];
    if (!last.reserved) return;
    last.reserved = false;
    this.names -= 1;
    if (FIXED) this.prune(name, path);
  }

  /** How many names begin so; at most `limit` are counted. */
  startingWith(beginning: string, limit = 20): number {
    let node: TrieNode | undefined = this.root;
    for (const letter of beginning) node = node?.children.get(letter);
    const open = node === undefined ? [] : [node];
    let found = 0;
    for (let steps = 0; steps < 200 && open.length > 0 && found < limit; steps += 1) {
      const next = open.pop() as TrieNode;
      if (next.reserved) found += 1;
      for (const child of next.children.values()) if (open.length < 50) open.push(child);
    }
    return found;
  }

  private prune(name: string, path: TrieNode[]): void {
    for (let depth = path.length - 1; depth > 0; depth -= 1) {
      const node = path[depth];
      if (node.reserved || node.children.size > 0) return;
      path[depth - 1].children.delete(name[depth - 1]);
    }
  }
}
