/** An article, made from its number: there is no database behind this example. */
export function articleOf(id) {
  return { id, title: `Article ${id}`, words: 300 + (id * 37) % 900, published: new Date(1.7e12 + (id % 1000) * 86_400_000) };
}
