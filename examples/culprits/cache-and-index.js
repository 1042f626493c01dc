// Articles are found by number and by label: two Maps hold each one, neither holds it alone.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

class StockArticle { // place
  constructor(number) { // place
    this.number = number;
    this.label = `label ${number}`;
    this.description = payload();
  }
}

class ArticleStore { // place
  constructor() { // place
    this.articleByNumber = new Map(); // place
    this.articleByLabel = new Map(); // place
  }

  keep(article) {
    this.articleByNumber.set(article.number, article); // place
    this.articleByLabel.set(article.label, article); // place
    if (FIXED) {
      this.articleByNumber.delete(article.number - 100);
      this.articleByLabel.delete(`label ${article.number - 100}`);
    }
  }
}

const store = new ArticleStore();

serve((number) => {
  store.keep(new StockArticle(number)); // place
  return { number };
});
