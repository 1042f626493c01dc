import { articleOf } from '../server/articles.js';

export const dynamic = 'force-dynamic';

export default function Front() {
  return (
    <ul>
      {Array.from({ length: 10 }, (_, id) => articleOf(id)).map(({ id, title }) => (
        <li key={id}>{title}</li>
      ))}
    </ul>
  );
}
