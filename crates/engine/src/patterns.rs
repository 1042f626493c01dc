//! The patterns in which programs leak: what each is, one line of advice, and how it looks before and after.
//!
//! A culprit carries a pattern's name; `plimsoll explain NAME` shows the rest. Only texts live here: which pattern it is,
//! the explainers decide.

/// A way of leaking that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern {
    /// Its name, as culprits carry it: `event listeners`.
    pub name: &'static str,
    /// What happens, in a sentence.
    pub what: &'static str,
    /// What to do, in a line.
    pub advice: &'static str,
    /// Code that leaks so.
    pub bad: &'static str,
    /// The same without the leak.
    pub good: &'static str,
}

impl Pattern {
    /// The name as a word on a command line: `event-listeners`.
    pub fn slug(&self) -> String {
        slug(self.name)
    }
}

/// The pattern with this name, however it is written: `event listeners`, `Event-Listeners`.
pub fn pattern(name: &str) -> Option<&'static Pattern> {
    let wanted = slug(name);
    PATTERNS.iter().find(|p| p.slug() == wanted)
}

/// The pattern that a heap's holder was found to follow.
pub(crate) fn of_heap(found: plimsoll_heap::culprit::Pattern) -> Option<&'static Pattern> {
    let name = match found.id() {
        "unbounded-array" | "linked-list" => "queue build-up",
        "pending-promises" => "pending promises/tasks",
        "open-connections" => "connections left open",
        "open-streams" => "streams left open",
        "workers" => "workers left running",
        "open-handles" => "handles left open",
        "async-resources" => "async context",
        "weak-map-keys" => "weak map misuse",
        id => id,
    };
    pattern(name)
}

fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric());
    let words: Vec<String> = words
        .filter(|w| !w.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.join("-")
}

/// All patterns, in the order in which they are listed.
pub const PATTERNS: [Pattern; 21] = [
    Pattern {
        name: "event listeners",
        what: "A listener is added to something long-lived for each operation and never taken off; its closure keeps what the operation used.",
        advice: "take it off when the operation ends: `once`, `off` in a `finally`, or an AbortSignal",
        bad: "feed.on('price', (p) => render(request, p));",
        good: "const onPrice = (p) => render(request, p);\nfeed.on('price', onPrice);\nresponse.once('close', () => feed.off('price', onPrice));",
    },
    Pattern {
        name: "timers",
        what: "A timer is started for each operation and never cleared; until it fires, or for ever if it repeats, it keeps its closure.",
        advice: "keep the handle and clear it when the operation ends",
        bad: "setInterval(() => upload.report(), 1000);",
        good: "const beat = setInterval(() => upload.report(), 1000);\nupload.once('end', () => clearInterval(beat));",
    },
    Pattern {
        name: "unbounded map",
        what: "A Map, a Set or an object used as one gains a key for each operation, and nothing deletes what was set.",
        advice: "nothing deletes what is set: bound it (LRU, TTL), or delete the key when its work is done",
        bad: "const sessions = new Map();\nsessions.set(token, session);",
        good: "const sessions = new LRUCache({ max: 10_000, ttl: 3_600_000 });\nsessions.set(token, session);",
    },
    Pattern {
        name: "queue build-up",
        what: "An array or a list gains an element for each operation, and less is taken out than is put in.",
        advice: "more goes in than comes out: take out what is done, bound the length, or push back on who fills it",
        bad: "audit.push(entry);",
        good: "audit.push(entry);\nif (audit.length >= 100) await flush(audit.splice(0));",
    },
    Pattern {
        name: "closure capture",
        what: "A function that lives on keeps the whole scope it was made in, also variables that only its siblings use; scopes that refer to the one before form a chain.",
        advice: "do not let what lives on be made beside what it does not need: move the function out, or set the variable to null",
        bad: "const previous = latest;\nconst compare = () => previous.total;   // never kept, but shares the scope\nlatest = { describe: () => 'report' };  // so this keeps `previous`",
        good: "latest = { describe };   // `describe` made outside: it keeps nothing",
    },
    Pattern {
        name: "global reference",
        what: "Something reachable from the global object or from a class itself gains for each operation, and lives as long as the process.",
        advice: "hold it in what ends with the operation, or bound it",
        bad: "globalThis.recent.push(request);\nclass Draft { static all = []; constructor() { Draft.all.push(this); } }",
        good: "response.locals.recent = request;   // ends with the response",
    },
    Pattern {
        name: "pending promises/tasks",
        what: "An operation awaits something that never settles: the suspended function and all its variables wait with it.",
        advice: "let every wait end: a timeout or an AbortSignal, and settle the promise on shutdown and error",
        bad: "await warehouse.ready;",
        good: "await Promise.race([warehouse.ready, timeout(5_000)]);   // and let `ready` reject on failure",
    },
    Pattern {
        name: "streams left open",
        what: "A stream is piped or opened for each operation and neither ended nor destroyed: its source goes on holding it.",
        advice: "use `pipeline`, or `unpipe` and `destroy` when the other side closes",
        bad: "ticker.pipe(response);",
        good: "pipeline(ticker, response, () => {});   // destroys both when either ends",
    },
    Pattern {
        name: "connections left open",
        what: "A connection is opened for each operation and never closed or returned.",
        advice: "return it to a pool, or close it in a `finally`",
        bad: "const client = await pool.connect();\nawait client.query(sql);",
        good: "const client = await pool.connect();\ntry { await client.query(sql); } finally { client.release(); }",
    },
    Pattern {
        name: "descriptors",
        what: "A file is opened for each operation and never closed.",
        advice: "close it in a `finally`",
        bad: "const file = await open(path);\nreturn file.readFile();",
        good: "const file = await open(path);\ntry { return await file.readFile(); } finally { await file.close(); }",
    },
    Pattern {
        name: "workers left running",
        what: "A worker is started for each operation and never ends.",
        advice: "keep a pool of workers, and `terminate` those that are done",
        bad: "const worker = new Worker('./resize.js', { workerData: image });\nworker.once('message', use);",
        good: "const size = await pool.run(image);   // a few workers that live on",
    },
    Pattern {
        name: "handles left open",
        what: "A channel, a port or a watcher is opened for each operation and never closed: the runtime keeps what is open.",
        advice: "`close` it when the operation ends; closing one port of a channel closes both",
        bad: "const { port1, port2 } = new MessageChannel();\nworker.postMessage({ port: port2 }, [port2]);",
        good: "port1.once('message', (answer) => { use(answer); port1.close(); });",
    },
    Pattern {
        name: "weak map misuse",
        what: "Entries of a WeakMap live as long as their keys, and something holds all keys, or each value holds its key from outside.",
        advice: "do not keep the keys of a WeakMap anywhere else for longer than their work",
        bad: "details.set(visitor, data);   // WeakMap\nall.push(visitor);            // and here it is kept",
        good: "details.set(visitor, data);   // the caller holds `visitor`, and lets it go",
    },
    Pattern {
        name: "module reload",
        what: "A module is loaded again and again; every copy stays among the children of its parent, or in a cache under a new name.",
        advice: "load it once; to reload, keep one loader process and restart it",
        bad: "delete require.cache[path];\nconst { render } = require(path);   // per request",
        good: "const { render } = require(path);   // once, at the start",
    },
    Pattern {
        name: "async context",
        what: "Something bound to the context of an operation outlives it, and keeps the store of AsyncLocalStorage with it.",
        advice: "run or drop what was bound; start long-lived things outside of `run`",
        bad: "storage.run(request, () => exporters.push(AsyncResource.bind(send)));",
        good: "storage.run(request, () => send());   // or: storage.exit(() => startExporter())",
    },
    Pattern {
        name: "native block",
        what: "Little in the heap keeps much outside of it: buffers, or memory of native add-ons, behind small wrappers.",
        advice: "drop or reuse the buffers; copy the few bytes that are needed out of a large one",
        bad: "thumbnails.push(image);   // a slice keeps its whole buffer",
        good: "thumbnails.push(Buffer.from(image.subarray(0, 64)));",
    },
    Pattern {
        name: "kept allocations",
        what: "Memory that native code allocates for an operation outlives it: something still owns it, or nobody frees it.",
        advice: "follow what this line allocates to who owns it: bound that owner, drop it with the operation, or break its cycle",
        bad: "sessions.lock().insert(id, Session::new(request));   // never removed",
        good: "let session = Session::new(request);   // dropped at the end; or a cache with a bound",
    },
    Pattern {
        name: "WebAssembly memory",
        what: "Linear memory only grows: what the module allocates and does not free is never given back.",
        advice: "free inside the module what was handed in (`free`, `delete`, `dispose`), and reuse instances",
        bad: "const frame = module.createFrame(csv);\nreturn frame.sum();",
        good: "const frame = module.createFrame(csv);\ntry { return frame.sum(); } finally { frame.free(); }",
    },
    Pattern {
        name: "reference cycle with a finaliser",
        what: "Objects that refer to each other wait for a collection that comes late, or never where a finaliser is in the way: what a FinalizationRegistry keeps for an object must not lead back to it.",
        advice: "break the cycle: a weak reference back, a value that does not lead to the object, or an explicit close",
        bad: "self.child.parent = self   # JavaScript: registry.register(frame, { frame, handle })",
        good: "self.child.parent = weakref.ref(self)   # JavaScript: registry.register(frame, handle)",
    },
    Pattern {
        name: "objects kept",
        what: "Objects of one class become more with each operation. Who holds them was not looked up: that takes a heap snapshot.",
        advice: "see what keeps them where they are made, or give the subject memory for a heap snapshot",
        bad: "plimsoll check … in a container whose limit the heap nearly fills",
        good: "plimsoll check … with a limit above five times the heap",
    },
    Pattern {
        name: "detached DOM",
        what: "Elements taken out of the document are still referred to from scripts, with their whole tree.",
        advice: "drop references to elements when they are removed, and take their listeners off",
        bad: "rows.push(element);\nelement.remove();",
        good: "element.remove();   // and nothing refers to it any more",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_words_on_a_command_line_and_differ() {
        let slugs: BTreeSet<String> = PATTERNS.iter().map(Pattern::slug).collect();
        assert_eq!(slugs.len(), PATTERNS.len());
        for name in ["pending-promises-tasks", "Pending promises/tasks"] {
            assert_eq!(
                pattern(name).map(|p| p.name),
                Some("pending promises/tasks")
            );
        }
        assert_eq!(pattern("unheard-of"), None);
    }

    #[test]
    fn every_pattern_of_a_heap_is_explained() {
        use plimsoll_heap::culprit::Pattern as Found;
        for found in [
            Found::EventListeners,
            Found::Timers,
            Found::UnboundedMap,
            Found::UnboundedArray,
            Found::LinkedList,
            Found::ClosureCapture,
            Found::GlobalReference,
            Found::PendingPromises,
            Found::OpenConnections,
            Found::OpenStreams,
            Found::ModuleReload,
            Found::WebAssembly,
            Found::Workers,
            Found::AsyncResources,
            Found::DetachedDom,
            Found::WeakMapKeys,
            Found::FinalizerCycle,
        ] {
            assert!(of_heap(found).is_some(), "{}", found.id());
        }
    }

    #[test]
    fn every_pattern_that_is_counted_is_explained() {
        for (family, kind) in [
            ("listeners", "A:b"),
            ("timers", "t"),
            ("objects", "Session"),
            ("descriptors", "socket"),
            ("descriptors", "file"),
            ("handles", "h"),
        ] {
            let name = crate::explain::wording(family, kind).1;
            assert!(pattern(name).is_some(), "{name}");
        }
    }
}
