import { initTRPC, TRPCError } from '@trpc/server';
import superjson from 'superjson';
import { articleOf } from './articles.js';
import { noteVisit } from './readers.js';

/** What a procedure knows of its call. */
export function createContext({ req }) {
  return { visit: noteVisit(new URL(req.url).pathname, req.headers.get('user-agent') ?? '') };
}

const t = initTRPC.context().create({ transformer: superjson });

function identified(input) {
  const id = Number(input?.id ?? NaN);
  if (!Number.isSafeInteger(id) || id < 0) throw new TRPCError({ code: 'BAD_REQUEST', message: 'id is a number' });
  return { id };
}

export const appRouter = t.router({
  article: t.router({
    byId: t.procedure.input(identified).query(({ input, ctx }) => {
      ctx.visit.progress[0].seen = true;
      return articleOf(input.id);
    }),
    list: t.procedure
      .input((input) => ({ limit: Math.min(Number(input?.limit) || 10, 50) }))
      .query(({ input }) => Array.from({ length: input.limit }, (_, id) => articleOf(id))),
    rate: t.procedure.input(identified).mutation(({ input }) => ({ id: input.id, stars: 1 + (input.id % 5) })),
  }),
});
