//! The bounded cache: the vectors that every implementation passes, properties, and what it keeps.

#![expect(clippy::unwrap_used, reason = "what is missing fails the test")]

mod common;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plimsoll::{
    BoundedCache, CacheOptions, EvictionPolicy, EvictionReason, HeapBytes, Scope, Scoped, cache_key,
};
use proptest::prelude::*;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: Scoped = Scoped::new();

fn policy(name: &str) -> EvictionPolicy {
    match name {
        "lru" => EvictionPolicy::Lru,
        "lfu" => EvictionPolicy::Lfu,
        "oldest" => EvictionPolicy::Oldest,
        "largest" => EvictionPolicy::Largest,
        other => panic!("no policy is called {other}"),
    }
}

fn options(given: &Value) -> CacheOptions {
    let mut options = CacheOptions::default();
    for (name, value) in given.as_object().unwrap() {
        match name.as_str() {
            "maxEntriesPerSession" => {
                options.max_entries_per_session = value.as_u64().unwrap() as usize;
            }
            "maxBytes" => options.max_bytes = value.as_u64().unwrap(),
            "policy" => options.policy = policy(value.as_str().unwrap()),
            "bytesPolicy" => options.bytes_policy = policy(value.as_str().unwrap()),
            "ttlMs" => options.ttl = value.as_u64().map(Duration::from_millis),
            other => panic!("no option is called {other}"),
        }
    }
    options
}

fn reason(reason: EvictionReason) -> &'static str {
    match reason {
        EvictionReason::Count => "count",
        EvictionReason::Bytes => "bytes",
        EvictionReason::Expired => "expired",
    }
}

/// A cache of sizes whose clock is set by hand, and what it evicted since it was last asked.
struct Watched {
    cache: BoundedCache<u64>,
    now_ms: Arc<AtomicU64>,
    evicted: Arc<Mutex<Vec<Value>>>,
}

fn watched(options: CacheOptions) -> Watched {
    let now_ms = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&now_ms);
    let now = move || Duration::from_millis(clock.load(Ordering::Relaxed));
    let cache = BoundedCache::with_clock(options, |bytes: &u64| *bytes, now);
    let evicted = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&evicted);
    cache.on_evict(move |gone| {
        assert_eq!(gone.value, gone.bytes);
        let id = cache_key(&gone.session, &gone.key);
        heard.lock().unwrap().push(json!([id, reason(gone.reason)]));
    });
    Watched {
        cache,
        now_ms,
        evicted,
    }
}

#[test]
fn the_vectors_hold() {
    for vector in common::vectors("bounded-cache") {
        let Watched {
            cache,
            now_ms,
            evicted,
        } = watched(options(&vector.options));
        for (step, at) in &vector.steps {
            if let Some(ms) = step["at_ms"].as_u64() {
                now_ms.store(ms, Ordering::Relaxed);
            }
            let text = |of: &str, part: usize| step[of][part].as_str().unwrap();
            if step.get("set").is_some() {
                let bytes = step["set"][2].as_u64().unwrap();
                let stored = cache.set(text("set", 0), text("set", 1), bytes);
                assert_eq!(json!(stored), step["stored"], "{at}");
            } else if step.get("get").is_some() {
                let hit = cache.get(text("get", 0), text("get", 1)).is_some();
                assert_eq!(json!(hit), step["hit"], "{at}");
            } else if step.get("has").is_some() {
                let found = cache.contains(text("has", 0), text("has", 1));
                assert_eq!(json!(found), step["found"], "{at}");
            } else if step.get("delete").is_some() {
                let removed = cache.remove(text("delete", 0), text("delete", 1)).is_some();
                assert_eq!(json!(removed), step["removed"], "{at}");
            } else if let Some(session) = step.get("clear") {
                match session.as_str() {
                    Some(session) => {
                        cache.clear_session(session);
                    }
                    None => cache.clear(),
                }
            } else {
                let found = cache.statistics();
                let told = json!({
                    "sessions": found.sessions, "entries": found.entries, "bytes": found.bytes,
                    "hits": found.hits, "misses": found.misses, "hit_rate": found.hit_rate(),
                    "evictions": {
                        "count": found.evicted_by_count, "bytes": found.evicted_by_bytes,
                        "expired": found.expired
                    }
                });
                assert_eq!(told, step["statistics"], "{at}");
            }
            let heard = std::mem::take(&mut *evicted.lock().unwrap());
            assert_eq!(json!(heard), step["evicted"], "{at}");
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Set(usize, usize, u64),
    Get(usize, usize),
    Remove(usize, usize),
    ClearSession(usize),
    Wait(u64),
}

const SESSIONS: [&str; 4] = ["a", "a:", "b", r"a\"];
const KEYS: [&str; 14] = [
    "x", ":x", "y", "z", "w", "a", "b", "c", "d", "e", "f", "g", "h", "i",
];

#[derive(Debug, Clone, Copy, PartialEq)]
struct Modelled {
    session: usize,
    bytes: u64,
    order: u64,
    used: u64,
    uses: u64,
}

/// Who goes, by a walk over all.
fn worst<'a>(policy: EvictionPolicy, of: impl Iterator<Item = &'a Modelled>) -> Modelled {
    let rank = |each: &&Modelled| match policy {
        EvictionPolicy::Lru => each.used,
        EvictionPolicy::Lfu => each.uses,
        EvictionPolicy::Oldest => each.order,
        EvictionPolicy::Largest => u64::MAX - each.bytes,
    };
    *of.min_by_key(|each| (rank(each), each.used))
        .expect("somebody")
}

fn step() -> impl Strategy<Value = Step> {
    let at = || (0..SESSIONS.len(), 0..KEYS.len());
    prop_oneof![
        6 => (at(), 0..120_u64).prop_map(|((s, k), bytes)| Step::Set(s, k, bytes)),
        3 => at().prop_map(|(s, k)| Step::Get(s, k)),
        1 => at().prop_map(|(s, k)| Step::Remove(s, k)),
        1 => (0..SESSIONS.len()).prop_map(Step::ClearSession),
        1 => (1..30_u64).prop_map(Step::Wait),
    ]
}

fn any_policy() -> impl Strategy<Value = EvictionPolicy> {
    prop_oneof!["lru", "lfu", "oldest", "largest"].prop_map(|name| policy(&name))
}

proptest! {
    /// What was set last, and neither went nor was removed since, is there, and nothing else; bounds hold after every step.
    #[test]
    fn bounds_hold_the_right_one_goes_and_nothing_is_invented(
        steps in proptest::collection::vec(step(), 1..400),
        max_entries_per_session in 0..12_usize,
        max_bytes in prop_oneof![0..100_u64, 0..1_500_u64],
        policies in (any_policy(), any_policy()),
        ttl_ms in proptest::option::of(1..60_u64),
    ) {
        let options = CacheOptions {
            max_entries_per_session,
            max_bytes,
            policy: policies.0,
            bytes_policy: policies.1,
            ttl: ttl_ms.map(Duration::from_millis),
        };
        let Watched { cache, now_ms, evicted } = watched(options);
        let mut model: BTreeMap<String, Modelled> = BTreeMap::new();
        let gone = |model: &mut BTreeMap<String, Modelled>| {
            for eviction in std::mem::take(&mut *evicted.lock().unwrap()) {
                let id = eviction[0].as_str().unwrap();
                let went = *model.get(id).expect("it was there");
                match eviction[1].as_str().unwrap() {
                    "count" => {
                        let own = |each: &&Modelled| each.session == went.session;
                        assert_eq!(went, worst(policies.0, model.values().filter(own)));
                    }
                    "bytes" => assert_eq!(went, worst(policies.1, model.values())),
                    _ => {}
                }
                model.remove(id);
            }
        };
        let mut ticks = 0_u64;
        for step in steps {
            match step {
                Step::Set(s, k, bytes) => {
                    model.remove(&cache_key(SESSIONS[s], KEYS[k]));
                    let stored = cache.set(SESSIONS[s], KEYS[k], bytes);
                    prop_assert_eq!(stored, bytes <= max_bytes && max_entries_per_session > 0);
                    gone(&mut model);
                    if stored {
                        ticks += 1;
                        let set = Modelled { session: s, bytes, order: ticks, used: ticks, uses: 0 };
                        model.insert(cache_key(SESSIONS[s], KEYS[k]), set);
                    }
                }
                Step::Get(s, k) => {
                    let found = cache.get(SESSIONS[s], KEYS[k]);
                    gone(&mut model);
                    let modelled = model.get_mut(&cache_key(SESSIONS[s], KEYS[k]));
                    prop_assert_eq!(found, modelled.as_ref().map(|each| each.bytes));
                    if let Some(modelled) = modelled {
                        ticks += 1;
                        modelled.used = ticks;
                        modelled.uses += 1;
                    }
                }
                Step::Remove(s, k) => {
                    let removed = cache.remove(SESSIONS[s], KEYS[k]);
                    let modelled = model.remove(&cache_key(SESSIONS[s], KEYS[k]));
                    prop_assert_eq!(removed, modelled.map(|each| each.bytes));
                }
                Step::ClearSession(s) => {
                    cache.clear_session(SESSIONS[s]);
                    for key in KEYS {
                        model.remove(&cache_key(SESSIONS[s], key));
                    }
                }
                Step::Wait(ms) => {
                    now_ms.fetch_add(ms, Ordering::Relaxed);
                }
            }
            let statistics = cache.statistics();
            gone(&mut model);
            prop_assert!(statistics.bytes <= max_bytes);
            prop_assert!(statistics.entries <= statistics.sessions * max_entries_per_session as u64);
            prop_assert_eq!(statistics.entries, model.len() as u64);
            prop_assert_eq!(statistics.bytes, model.values().map(|each| each.bytes).sum::<u64>());
        }
    }

    #[test]
    fn two_pairs_never_have_one_form(a in r"[a:\\]{0,4}", b in r"[a:\\]{0,4}", c in r"[a:\\]{0,4}", d in r"[a:\\]{0,4}") {
        prop_assert_eq!(cache_key(&a, &b) == cache_key(&c, &d), (a, b) == (c, d));
    }
}

#[test]
fn a_cache_keeps_what_its_bounds_allow_and_no_more() {
    let cache = BoundedCache::<String>::new();
    let verdict = plimsoll::check({
        let cache = cache.clone();
        let mut number = 0_u64;
        move || {
            number += 1;
            cache.set(
                &format!("session {}", number % 15),
                &number.to_string(),
                "x".repeat(100),
            )
        }
    });
    assert!(verdict.is_no_leak(), "{verdict}");
    assert_eq!(cache.statistics().entries, 15 * 20);
}

#[test]
fn a_leak_into_a_cache_without_bounds_is_named_by_its_gauge() {
    let cache = BoundedCache::<String>::with(CacheOptions {
        max_entries_per_session: usize::MAX,
        max_bytes: u64::MAX,
        ..CacheOptions::default()
    });
    let _gauge = plimsoll::gauge("answers", cache.clone());
    let mut number = 0_u64;
    let verdict = plimsoll::check(|| {
        number += 1;
        cache.set("one", &number.to_string(), "x".repeat(100))
    });
    assert!(verdict.is_leak(), "{verdict}");
    let entries = verdict
        .grown
        .iter()
        .find(|grown| grown.name == "answers entries");
    assert!((entries.unwrap().per_op - 1.0).abs() < 0.01, "{verdict}");
}

/// Listeners and values may use the cache: nothing of theirs runs below its lock.
#[test]
fn listeners_and_values_may_use_the_cache() {
    struct Uses(BoundedCache<u64>);
    impl Drop for Uses {
        fn drop(&mut self) {
            self.0.set("dropped", "one", 1);
        }
    }
    let other = BoundedCache::<u64>::new();
    let cache = BoundedCache::sized_by(
        CacheOptions {
            max_entries_per_session: 1,
            ..CacheOptions::default()
        },
        |_: &Arc<Uses>| 1,
    );
    let again = cache.clone();
    cache.on_evict(move |_| assert!(again.contains("a", "2")));
    for key in ["1", "2"] {
        assert!(cache.set("a", key, Arc::new(Uses(other.clone()))));
    }
    assert!(other.contains("dropped", "one"));
    cache.clear();
    assert_eq!(cache.statistics().entries, 0);
}

/// Estimates beside what the allocator counts.
#[test]
fn estimates_are_near_the_truth() {
    fn compare<T: HeapBytes>(name: &str, tolerance: f64, make: impl Fn() -> T) {
        let scope = Scope::open(name).unwrap();
        let value = scope.run(|| black_box(make()));
        let truth = scope.stats().live_bytes as f64;
        let estimate = value.heap_bytes() as f64;
        let ratio = estimate / truth;
        assert!(
            (ratio - 1.0).abs() <= tolerance,
            "{name}: {estimate} of {truth}"
        );
        println!("{name}: {ratio:.3} of {truth} bytes");
    }
    let text = |i: usize| format!("name {i}").repeat(1 + i % 7);
    compare("texts", 0.0, || (0..500).map(text).collect::<Vec<_>>());
    compare("numbers", 0.0, || (0..1000_u64).collect::<Vec<_>>());
    compare("a queue", 0.0, || {
        (0..500).map(text).collect::<VecDeque<_>>()
    });
    compare("boxes", 0.0, || {
        (0..500_u64)
            .map(|i| Some(Box::new((i, i))))
            .collect::<Vec<_>>()
    });
    compare("shared", 0.0, || {
        (0..500)
            .map(|i| Arc::<str>::from(text(i)))
            .collect::<Vec<_>>()
    });
    for entries in [1, 5, 20, 200, 5000] {
        compare("a table", 0.02, || {
            (0..entries)
                .map(|i| (i, text(i)))
                .collect::<HashMap<_, _>>()
        });
    }
    for entries in [1, 8, 100, 5000] {
        compare("a tree", 0.35, || {
            let mut map = BTreeMap::new();
            for i in 0..entries {
                map.insert(i * 7919 % 5003, text(i));
            }
            map
        });
    }
    compare("a set", 0.35, || (0..1000_u64).collect::<BTreeSet<_>>());
}
