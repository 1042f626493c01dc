//! Real programs that leak in one known way each: the culprit is named, and on the fixed twins nobody is.
//!
//! Each program runs in Node and writes four snapshots: before, after N operations, after 2N more, after rest.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use plimsoll_heap::culprit::{self, Culprit, Origin, Ranking};
use plimsoll_heap::{Base, Classes, Heap, Snapshot, Window, Windows};

const OPERATIONS: u64 = 300;

/// A folder of its own for each program, removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The ranking of one program; none where there is no Node.
fn rank(program: &str) -> Option<Ranking> {
    let folder = format!("plimsoll-heap-{program}-{}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(folder));
    fs::create_dir_all(&folder.0).unwrap();
    let subject = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/leaks/subject.cjs");
    let output = match Command::new("node")
        .arg(subject)
        .arg(program)
        .arg(&folder.0)
        .arg(OPERATIONS.to_string())
        .output()
    {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: no node ({error})");
            return None;
        }
    };
    assert!(output.status.success(), "{output:?}");
    let file = |name: &str| File::open(folder.0.join(format!("{name}.heapsnapshot"))).unwrap();
    let earlier: Vec<Window> = ["a", "b", "c"]
        .iter()
        .map(|name| Window::open(&file(name)).unwrap())
        .collect();
    let heap = Heap::of(Snapshot::open(&file("d")).unwrap());
    let windows = Windows {
        earlier: &earlier,
        operations: &[OPERATIONS, 2 * OPERATIONS, 0],
    };
    let classes = Classes::of(&heap);
    if program == "map" {
        // Generations: one object per operation came in both windows, none while it rested.
        let rows = plimsoll_heap::survivors(&heap, &classes, &windows).unwrap();
        let row = rows.iter().find(|row| row.name == "Session").unwrap();
        assert_eq!(row.old.count, OPERATIONS);
        assert_eq!(row.new_objects().count, 3 * OPERATIONS);
        assert_eq!(row.counts_per_op(&windows), [1.0, 1.0]);
        assert_eq!(row.since[2].count, 0);
    }
    Some(culprit::rank(&heap, &classes, &windows).unwrap())
}

/// Pattern, kind, holder and the line of programs.cjs, as one text.
fn words(culprit: &Culprit) -> String {
    assert!(culprit.share > 0.5 && culprit.share <= 1.0, "{culprit:?}");
    assert_eq!(culprit.origin, Origin::User, "{culprit:?}");
    let place = culprit.nearest_place().unwrap();
    let file = place.script.rsplit('/').next().unwrap();
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/leaks/programs.cjs"))
            .unwrap();
    let line = text.lines().nth(place.line as usize - 1).unwrap().trim();
    format!(
        "{}: {} in {} ({file}: {line})",
        culprit.pattern.name(),
        culprit.kind,
        culprit.holder.name
    )
}

/// The only culprit is the one wanted, with one object per operation.
fn check(program: &str, wanted: &str) {
    let Some(ranking) = rank(program) else { return };
    assert!(ranking.confirmed);
    assert_eq!(ranking.culprits.len(), 1, "{ranking:#?}");
    let culprit = &ranking.culprits[0];
    assert_eq!(words(culprit), wanted);
    assert!((culprit.count_per_op - 1.0).abs() < 0.02, "{culprit:?}");
}

fn check_quiet(program: &str) {
    if let Some(ranking) = rank(program) {
        assert!(ranking.culprits.is_empty(), "{ranking:#?}");
    }
}

#[test]
fn listeners() {
    check(
        "listeners",
        "event listeners: Function in bus._events.tick (programs.cjs: return (i) => { bus.on('tick', () => i); };)",
    );
    check_quiet("listenersFixed");
}

#[test]
fn a_map_and_two_caches() {
    check(
        "map",
        "unbounded map/cache: Session in sessions (programs.cjs: class Session { constructor(i) { this.id = i; this.name = 'session ' + i; } })",
    );
    check_quiet("mapBounded");
    check_quiet("mapFills");
}

#[test]
fn timers() {
    check(
        "timers",
        "timers: Timeout in timerListMap[100000000] (programs.cjs: exports.timers = () => (i) => { setInterval(() => i, 1e8).unref(); };)",
    );
    check_quiet("timersFixed");
}

#[test]
fn closures() {
    check(
        "closures",
        "closure capture: Function in handlers (programs.cjs: return (i) => { const big = new Array(50).fill(i); handlers.push(() => big.length); };)",
    );
}

#[test]
fn chains() {
    check(
        "linkedList",
        "linked list: Entry in head (programs.cjs: class Entry { constructor(i, next) { this.i = i; this.next = next; } })",
    );
    check(
        "queue",
        "linked list: Job in queue (programs.cjs: class Job { constructor(i) { this.i = i; this.next = null; } })",
    );
}

#[test]
fn two_holders_of_one_leak() {
    let program = "cacheAndIndex";
    check(
        program,
        "unbounded map/cache: Order in byId (programs.cjs: class Order { constructor(i) { this.i = i; this.lines = [i, 'line ' + i]; } })",
    );
    let Some(ranking) = rank(program) else { return };
    let others: Vec<&str> = ranking.culprits[0]
        .also_held_by
        .iter()
        .map(|holder| holder.name.as_str())
        .collect();
    assert_eq!(others, ["recent"]);
}

#[test]
fn a_class_holds_its_objects() {
    check(
        "classStatic",
        "unbounded array: Registry in Registry.all (programs.cjs: class Registry { static all = []; constructor(i) { this.i = i; Registry.all.push(this); } })",
    );
}

#[test]
fn small_wrappers_of_large_memory() {
    let Some(ranking) = rank("wasm") else { return };
    let culprit = &ranking.culprits[0];
    assert_eq!(culprit.pattern.name(), "WebAssembly memory");
    assert_eq!(culprit.holder.name, "memories");
    assert!(culprit.bytes_per_op > 65_536.0 && culprit.bytes_per_op < 67_000.0);
    let Some(ranking) = rank("buffers") else {
        return;
    };
    let culprit = &ranking.culprits[0];
    assert_eq!(
        (culprit.kind.as_str(), culprit.holder.name.as_str()),
        ("Buffer", "chunks")
    );
    assert!(culprit.bytes_per_op > 20_000.0 && culprit.bytes_per_op < 20_500.0);
}

#[test]
fn keys_of_a_weak_map() {
    let Some(ranking) = rank("weakMapKeys") else {
        return;
    };
    let culprit = &ranking.culprits[0];
    assert_eq!(culprit.pattern.name(), "weak map with kept keys");
    assert_eq!(culprit.holder.name, "keys");
}

#[test]
fn what_a_registry_keeps_for_an_object_leads_back_to_it() {
    let Some(ranking) = rank("finalizerCycle") else {
        return;
    };
    let culprit = &ranking.culprits[0];
    assert_eq!(culprit.pattern.name(), "reference cycle with a finaliser");
    assert_eq!(culprit.holder.name, "collected");
    check_quiet("finalizerFixed");
}

#[test]
fn what_is_bound_to_the_context_of_an_operation() {
    check(
        "bound",
        "async resources: Function in flushes (programs.cjs: return (i) => { storage.run({ request: i }, () => { flushes.push(AsyncResource.bind(() => i)); }); };)",
    );
}

#[test]
fn classes_of_a_module_that_is_loaded_again_are_one() {
    let Some(ranking) = rank("reloaded") else {
        return;
    };
    let culprit = &ranking.culprits[0];
    assert_eq!(
        (culprit.kind.as_str(), culprit.holder.name.as_str()),
        ("Page", "pages")
    );
    let place = culprit.place.as_ref().unwrap();
    assert!(place.script.ends_with("/page.cjs"), "{culprit:?}");
    assert_eq!(place.line, 2);
}

#[test]
fn a_module_that_is_imported_again_is_one() {
    let Some(ranking) = rank("imported") else {
        return;
    };
    let culprit = &ranking.culprits[0];
    assert_eq!(
        (culprit.pattern.name(), culprit.kind.as_str()),
        ("module reload", "Module")
    );
    let place = culprit.place.as_ref().unwrap();
    assert!(place.script.contains("/imported.mjs?"), "{culprit:?}");
    assert_eq!(place.line, 1);
}

#[test]
fn what_is_spread_over_the_containers_of_a_table_is_one() {
    check(
        "spread",
        "unbounded array: Visit in rooms[…].visits (programs.cjs: class Visit { constructor(i) { this.i = i; } })",
    );
    let Some(ranking) = rank("topics") else {
        return;
    };
    let culprit = &ranking.culprits[0];
    assert_eq!(
        (culprit.pattern.name(), culprit.holder.name.as_str()),
        ("event listeners", "topics")
    );
}

/// The nodes of a tree gain little each, and which of them do is a matter of their keys.
#[test]
fn a_tree_of_its_own_nodes_is_one_holder() {
    check(
        "searchTree",
        "unbounded map/cache: Weight in weights.root (programs.cjs: class Weight { constructor(key) { this.key = key; this.lighter = null; this.heavier = null; } })",
    );
    check(
        "searchTreeVariable",
        "unbounded map/cache: Weight in root (programs.cjs: class Weight { constructor(key) { this.key = key; this.lighter = null; this.heavier = null; } })",
    );
}

/// What the instances of a class inherit from reads as an instance of the class above.
#[test]
fn a_class_made_again_and_again_is_told_and_not_the_one_it_extends() {
    let Some(ranking) = rank("mixins") else {
        return;
    };
    let culprit = &ranking.culprits[0];
    assert_eq!(
        (culprit.kind.as_str(), culprit.holder.name.as_str()),
        ("Function", "plans")
    );
    assert!(words(culprit).contains("class Discounted extends Plan"));
}

#[test]
fn a_pattern_is_of_what_holds_and_not_of_what_is_near() {
    for (program, wanted) in [
        ("columns", ("unbounded map/cache", "#values")),
        ("hungUp", ("unbounded map/cache", "sockets")),
        ("composite", ("event listeners", "gcPersistentSignals")),
        ("heldByListener", ("unbounded map/cache", "")),
        ("bothWays", ("linked list", "tasks")),
        ("subclass", ("unbounded array", "turns")),
        ("bigints", ("unbounded map/cache", "seen")),
        ("answered", ("unbounded array", "kept")),
        (
            "ports",
            ("handles left open", "handles that the runtime keeps open"),
        ),
    ] {
        let Some(ranking) = rank(program) else { return };
        let culprit = &ranking.culprits[0];
        let name = &culprit.holder.name;
        assert_eq!(culprit.pattern.name(), wanted.0, "{program}: {name}");
        assert!(name.ends_with(wanted.1), "{program}: {name}");
    }
}

#[test]
fn what_is_made_anew_again_and_again_is_told_by_its_own_class() {
    let Some(ranking) = rank("requeued") else {
        return;
    };
    let culprit = &ranking.culprits[0];
    assert_eq!(
        (culprit.kind.as_str(), culprit.holder.name.as_str()),
        ("Job", "jobs")
    );
}

#[test]
fn a_timer_that_is_over_and_a_text_that_grows() {
    for (program, wanted) in [
        ("rung", ("unbounded map/cache", "timers")),
        ("rope", ("linked list", "protocol.text")),
    ] {
        let Some(ranking) = rank(program) else { return };
        let culprit = &ranking.culprits[0];
        let found = (culprit.pattern.name(), culprit.holder.name.as_str());
        assert_eq!(found, wanted, "{program}");
    }
}

#[test]
fn keys_made_of_pieces_are_no_rows_and_no_kind() {
    check(
        "joinedKeys",
        "unbounded map/cache: {hits, until} in limits (programs.cjs: const keyOf = (i) => ['a', 'b', 'c', 'd'].reduce((key, part) => `${key}-${part}-${i}`, 'visitor');)",
    );
}

#[test]
fn functions_under_the_keys_of_an_object_are_a_cache() {
    check(
        "compiled",
        "unbounded map/cache: Function in templates (programs.cjs: return (i) => { templates[`letter-${i}`] = () => i; };)",
    );
}

#[test]
fn what_a_module_exports_is_named_by_its_file() {
    let Some(ranking) = rank("exported") else {
        return;
    };
    let holder = &ranking.culprits[0].holder;
    assert_eq!(holder.name, "exports.kept");
    let place = holder.place.as_ref().unwrap();
    assert!(place.script.ends_with("/shelf.cjs"), "{holder:?}");
}

#[test]
fn what_only_some_operations_leave_behind() {
    let Some(ranking) = rank("third") else { return };
    let culprit = &ranking.culprits[0];
    assert_eq!(culprit.holder.name, "some");
    assert!((culprit.count_per_op - 1.0 / 3.0).abs() < 0.01);
}

#[test]
fn nothing_leaks_nobody_is_named() {
    check_quiet("quiet");
    check_quiet("streamsFixed");
}

#[test]
fn snapshots_of_two_processes_are_refused() {
    let bytes = |name: &str| crate::parity::snapshot_bytes(&format!("{name}.heapsnapshot"));
    let heap = Heap::of(Snapshot::read(bytes("chromium-frames").as_slice()).unwrap());
    let classes = Classes::of(&heap);
    let rank = |before: &str, operations: &[u64]| {
        let earlier = [Window::read(bytes(before).as_slice()).unwrap()];
        let windows = Windows {
            earlier: &earlier,
            operations,
        };
        culprit::rank(&heap, &classes, &windows).map(|ranking| ranking.culprits.len())
    };
    for other in ["chromium-detached", "node26-kept", "deno-kept"] {
        let error = rank(other, &[100]).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "these snapshots cannot be compared: snapshot 1 numbers other objects"
            ),
            "{error}"
        );
    }
    assert_eq!(rank("chromium-frames", &[100]).unwrap(), 0);
    let error = rank("chromium-frames", &[]).unwrap_err().to_string();
    assert!(
        error.contains("need 1 counts of operations, not 0"),
        "{error}"
    );
}

/// Ids of the objects that have bytes, by brute force.
fn objects(heap: &Heap) -> std::collections::BTreeMap<u32, u64> {
    let snapshot = heap.snapshot();
    snapshot
        .nodes()
        .filter(|node| heap.shallow(*node) > 0)
        .map(|node| (snapshot.id(node), heap.shallow(node)))
        .collect()
}

#[test]
fn two_snapshots_are_compared_class_by_class() {
    let read = |name: &str| {
        let bytes = crate::parity::snapshot_bytes(&format!("{name}.heapsnapshot"));
        Heap::of(Snapshot::read(bytes.as_slice()).unwrap())
    };
    let heap = read("node20-kept");
    let base = Base::of(&heap, &Classes::of(&heap));
    assert_eq!(base.compare(&heap).unwrap(), []);
    assert!(base.compare(&read("node26-kept")).is_err());
    let all = objects(&heap);
    // The same process with some objects gone and others come, made by renaming ids.
    let bytes = crate::parity::snapshot_bytes("node20-kept.heapsnapshot");
    let text = String::from_utf8(bytes).unwrap();
    let kept: Vec<u32> = heap
        .snapshot()
        .nodes()
        .filter(|node| {
            heap.snapshot().kind(*node) == plimsoll_heap::NodeKind::Object
                && heap.snapshot().name(*node) == "Kept"
        })
        .map(|node| heap.snapshot().id(node))
        .take(7)
        .collect();
    let mut changed = text;
    for id in &kept {
        let row = format!(",{id},");
        // The id stands in the third column of a line.
        let mut found = changed.match_indices(&row).map(|(at, _)| at);
        let at = found
            .find(|at| {
                let line = changed[..*at].rfind('\n').unwrap();
                changed[line + 2..*at].split(',').count() == 2
            })
            .unwrap();
        changed.replace_range(at..at + row.len(), &format!(",{},", id + 9_000_000));
    }
    let later = Heap::of(Snapshot::read(changed.as_bytes()).unwrap());
    let changes = base.compare(&later).unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    let change = &changes[0];
    assert_eq!(
        (change.name.as_str(), change.count(), change.bytes()),
        ("Kept", 0, 0)
    );
    assert_eq!((change.added.count, change.removed.count), (7, 7));
    let bytes: u64 = kept.iter().map(|id| all[id]).sum();
    assert_eq!((change.added.bytes, change.removed.bytes), (bytes, bytes));
}

/// No container gains much: what comes is spread over the Maps of the old branches.
#[test]
fn a_tree_is_one_holder() {
    let Some(ranking) = rank("tree") else { return };
    let culprit = &ranking.culprits[0];
    assert!(culprit.share > 0.5, "{ranking:#?}");
    assert_eq!(culprit.kind, "Branch");
    assert_eq!(culprit.pattern.name(), "unbounded map/cache");
    assert!(
        culprit.holder.name.starts_with("root.branches"),
        "{}",
        culprit.holder.name
    );
}

/// No old container gains anything: a larger copy takes the place of the one before.
#[test]
fn what_is_replaced_by_a_larger_copy_is_told_by_it() {
    check(
        "replacedListeners",
        "event listeners: Function in subscribers (programs.cjs: return (i) => { subscribers = [...subscribers, () => i]; };)",
    );
    let Some(ranking) = rank("functionChain") else {
        return;
    };
    let culprit = &ranking.culprits[0];
    assert_eq!(culprit.pattern.name(), "closure capture", "{ranking:#?}");
    assert_eq!(culprit.holder.name, "page.draw");
}
