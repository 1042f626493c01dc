// What worker and producer agree on.

/** The queue's name in Redis. */
export const QUEUE = 'invoices';

/** Where Redis is: REDIS_PORT on this machine. */
export const connection = { host: '127.0.0.1', port: Number(process.env.REDIS_PORT ?? 6379), maxRetriesPerRequest: null };
