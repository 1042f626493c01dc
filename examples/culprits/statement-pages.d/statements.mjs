// Statements of accounts, read page by page.

const PAGE = 6;

export class StatementReader { // place
  /** What is being read: to be closed when the service goes down. */
  #reading = new Set(); // place

  get reading() {
    return this.#reading.size;
  }

  /** The pages of a statement, each made when it is asked for. */
  open(account, entries) {
    const reading = this.#reading;
    function* statementPages() { // place
      try {
        let balance = account.opening;
        for (let from = 0; from < entries.length; from += PAGE) {
          const page = entries.slice(from, from + PAGE);
          balance += page.reduce((sum, entry) => sum + entry.cents, 0);
          yield { page: 1 + from / PAGE, entries: page, balance }; // place
        }
      } finally {
        reading.delete(pages);
      }
    }
    const pages = statementPages(); // place
    this.#reading.add(pages); // place
    return pages;
  }

  closeAll() {
    for (const pages of this.#reading) pages.return();
  }
}
