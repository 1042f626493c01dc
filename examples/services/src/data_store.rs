//! Data: SQLite behind a pool of connections and a cache of query results, and redb for blobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use plimsoll::memory_testing::{Operation, Payload, Service, ServiceError, ServiceType};
use plimsoll::{Gauges, Registration};
use redb::{Database, ReadableDatabase, TableDefinition};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::books::Books;
use crate::{Engine, Setup, admit, mix};

/// Connections of the pool.
const CONNECTIONS: u32 = 4;
/// Results kept.
const RESULTS: u64 = 48;
/// Rows there are at most: those that come later take the place of those before.
const ROWS: u64 = 400;
/// Blobs there are at most.
const BLOB_KEYS: u64 = 40;
/// What rows are about.
const TOPICS: u64 = 20;

const BLOBS: TableDefinition<u64, &[u8]> = TableDefinition::new("blobs");

/// The service.
#[derive(Debug)]
pub struct DataStore(Setup);

impl DataStore {
    /// Set up so.
    pub fn new(setup: Setup) -> Self {
        Self(setup)
    }
}

/// Opens and checks connections.
#[derive(Debug)]
struct Connector {
    path: std::path::PathBuf,
}

impl r2d2::ManageConnection for Connector {
    type Connection = Connection;
    type Error = rusqlite::Error;

    fn connect(&self) -> Result<Connection, rusqlite::Error> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -256;",
        )?;
        Ok(connection)
    }

    fn is_valid(&self, connection: &mut Connection) -> Result<(), rusqlite::Error> {
        connection.execute_batch("")
    }

    fn has_broken(&self, _: &mut Connection) -> bool {
        false
    }
}

type Rows = Arc<Vec<(i64, String)>>;

/// The service while it runs.
pub struct Running {
    engine: Engine,
    pool: r2d2::Pool<Connector>,
    results: Cache<u64, Rows>,
    hits: Arc<AtomicU64>,
    misses: Arc<AtomicU64>,
    blobs: Database,
    books: Books,
    _gauges: [Registration; 3],
    // Goes last: the databases are in it.
    _folder: TempDir,
}

impl Running {
    fn insert(&self, number: u64) -> Result<Vec<u8>, ServiceError> {
        let text = text_of(number);
        let connection = self.pool.get()?;
        let mut insert = connection
            .prepare_cached("INSERT OR REPLACE INTO items (id, topic, body) VALUES (?1, ?2, ?3)")?;
        let row = ((number % ROWS) as i64, (number % TOPICS) as i64, &text);
        let rows = self.engine.ask(|| Ok(insert.execute(row)?))?;
        if rows != 1 {
            return Err(format!("{rows} rows were written instead of one").into());
        }
        Ok(text.into_bytes())
    }

    fn query(&self, number: u64) -> Result<Vec<u8>, ServiceError> {
        let topic = mix(number) % TOPICS;
        let rows = if let Some(rows) = self.results.get(&topic) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            rows
        } else {
            self.misses.fetch_add(1, Ordering::Relaxed);
            let rows: Rows = Arc::new(self.engine.ask(|| self.select(topic))?);
            self.results.insert(topic, Arc::clone(&rows));
            rows
        };
        if rows.is_empty() {
            return Err(format!("nothing was found on topic {topic}").into());
        }
        // As it would be sent.
        let mut answer = Vec::new();
        for (id, body) in rows.iter().take(10) {
            answer.extend_from_slice(&id.to_le_bytes());
            answer.extend_from_slice(body.as_bytes());
        }
        if number % 8 == 0 {
            self.results.invalidate(&topic);
        }
        Ok(answer)
    }

    fn select(&self, topic: u64) -> Result<Vec<(i64, String)>, ServiceError> {
        let connection = self.pool.get()?;
        let mut query =
            connection.prepare_cached("SELECT id, body FROM items WHERE topic = ?1 ORDER BY id")?;
        let rows = query.query_map([topic as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Keeps a blob and reads it back.
    fn blob(&self, key: u64, bytes: &[u8]) -> Result<usize, ServiceError> {
        let read = self.engine.ask(|| self.write_and_read(key, bytes))?;
        if read != bytes.len() {
            return Err(format!("{read} of {} bytes came back", bytes.len()).into());
        }
        Ok(read)
    }

    fn write_and_read(&self, key: u64, bytes: &[u8]) -> Result<usize, ServiceError> {
        let writing = self.blobs.begin_write()?;
        {
            let mut table = writing.open_table(BLOBS)?;
            table.insert(key, bytes)?;
        }
        writing.commit()?;
        let reading = self.blobs.begin_read()?.open_table(BLOBS)?;
        Ok(reading.get(key)?.map_or(0, |blob| blob.value().len()))
    }
}

fn text_of(number: u64) -> String {
    let words = 8 + mix(number) % 24;
    (0..words)
        .map(|word| format!("{:x} ", mix(number + word)))
        .collect()
}

impl Service for DataStore {
    type Running = Running;

    fn service_type(&self) -> ServiceType {
        ServiceType::DataStore
    }

    fn operations(&self) -> Vec<&'static str> {
        vec!["insert", "query", "blob"]
    }

    fn warm_up_operations(&self) -> u64 {
        Books::WARM_UP
    }

    async fn start(&self) -> Result<Running, ServiceError> {
        // In memory that is not the process's, where there is such: durable commits are the engine's work, not the disk's. (Commits
        // that are not durable never free a page, which is growth of the engine's own.)
        let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new())?;
        let connector = Connector {
            path: folder.path().join("items.sqlite"),
        };
        let pool = r2d2::Pool::builder()
            .max_size(CONNECTIONS)
            .build(connector)?;
        pool.get()?.execute_batch(
            "CREATE TABLE items (id INTEGER PRIMARY KEY, topic INTEGER, body TEXT); CREATE INDEX by_topic ON items (topic);",
        )?;
        let mut builder = Database::builder();
        builder.set_cache_size(256 * 1024);
        let blobs = builder.create(folder.path().join("blobs.redb"))?;
        let results: Cache<u64, Rows> = Cache::new(RESULTS);
        let (hits, misses) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let of = (results.clone(), Arc::clone(&hits), Arc::clone(&misses));
        let cache = plimsoll::gauge("query results", move || Gauges {
            entries: Some(of.0.entry_count()),
            capacity: Some(RESULTS),
            hits: Some(of.1.load(Ordering::Relaxed)),
            misses: Some(of.2.load(Ordering::Relaxed)),
            ..Gauges::default()
        });
        let of = pool.clone();
        let connections = plimsoll::gauge("pool", move || {
            let state = of.state();
            Gauges {
                connections: Some(u64::from(state.connections)),
                capacity: Some(u64::from(CONNECTIONS)),
                ..Gauges::default()
            }
        });
        // SQLite has its memory from C, past Rust's allocator.
        let sqlite = plimsoll::gauge("sqlite", || Gauges {
            bytes: Some(memory_of_sqlite()),
            ..Gauges::default()
        });
        let mut running = Running {
            engine: Engine::Real,
            pool,
            results,
            hits,
            misses,
            blobs,
            books: Books::open(self.0.leak),
            _gauges: [cache, connections, sqlite],
            _folder: folder,
        };
        // A store in use is full: what comes takes the place of what was.
        for number in 0..ROWS {
            running.insert(number)?;
        }
        for number in 0..ROWS {
            running.query(number)?;
        }
        for key in 0..BLOB_KEYS {
            running.blob(key, text_of(key).as_bytes())?;
        }
        running.engine = self.0.engine;
        if running.engine == Engine::Removed {
            // What was found while it was there is no answer of it now.
            running.results.invalidate_all();
        }
        Ok(running)
    }

    async fn operate(&self, running: &Running, asked: &Operation) -> Result<u64, ServiceError> {
        let number = asked.number;
        let answer = match asked.kind {
            "insert" => running.insert(number)?,
            "query" => running.query(number)?,
            _ => {
                let text = text_of(number).into_bytes();
                running.blob(number % BLOB_KEYS, &text)?;
                text
            }
        };
        let bytes = answer.len() as u64;
        running.books.record(number, answer).await;
        Ok(bytes)
    }

    async fn process(&self, running: &Running, payload: &Payload) -> Result<u64, ServiceError> {
        // redb copies a value into its pages, and the pages to their file.
        admit(4 * payload.text.len())?;
        let bytes = running.blob(u64::MAX, payload.text.as_bytes())?;
        let summary = payload.text.as_bytes()[..payload.text.len() / 64].to_vec();
        running.books.record(payload.number, summary).await;
        Ok(bytes as u64)
    }

    async fn settle(&self, running: &Running) {
        running.results.run_pending_tasks();
    }
}

fn memory_of_sqlite() -> u64 {
    // SAFETY: takes no argument and may be called at any time.
    unsafe { rusqlite::ffi::sqlite3_memory_used() }.cast_unsigned()
}
