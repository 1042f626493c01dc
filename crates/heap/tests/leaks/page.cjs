// A module that is loaded again and again.
class Page { constructor(i) { this.i = i; this.render = () => `page ${this.i}`; } }
exports.Page = Page;
