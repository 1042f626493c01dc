//! Live values by type, cycles and gauges, by themselves and in a verdict.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;
use std::thread;

use plimsoll::{Arc, Gauges, Kind, Live, Scoped, Track, Tracked, Weak, check};

#[global_allocator]
static ALLOCATOR: Scoped = Scoped::new();

struct Ticket {
    _number: u64,
    _live: Live<Ticket>,
}
plimsoll::track!(Ticket);

impl Ticket {
    fn new(number: u64) -> Self {
        Self {
            _number: number,
            _live: Live::new(),
        }
    }
}

fn counts(kind: &Kind) -> (i64, u64) {
    (kind.live(), kind.created())
}

#[test]
fn values_count_from_their_making_to_their_end() {
    let kind = Ticket::kind();
    let made: Vec<Ticket> = (0..10).map(Ticket::new).collect();
    assert_eq!(size_of::<Ticket>(), 8, "the count takes no room in it");
    assert_eq!(counts(kind), (10, 10));
    thread::spawn(move || drop(made)).join().unwrap();
    assert_eq!(counts(kind), (0, 10));
    assert!(plimsoll::kinds().iter().any(|kind| kind.name() == "Ticket"));
    assert!(kind.place().contains("tests/track.rs:"), "{}", kind.place());
}

#[derive(Clone, Default)]
struct Plain(u32);
plimsoll::track!(Plain);

#[test]
fn a_tracked_value_is_the_value() {
    let mut value = Tracked::new(Plain(7));
    value.0 += 1;
    let copy = value.clone();
    assert_eq!((copy.0, counts(Plain::kind())), (8, (2, 2)));
    let inner = value.into_inner();
    assert_eq!((inner.0, counts(Plain::kind())), (8, (1, 2)));
    drop(copy);
    assert_eq!(counts(Plain::kind()).0, 0);
}

#[derive(Default)]
struct Room {
    neighbours: Mutex<Vec<Arc<Room>>>,
    guest: Mutex<Option<Arc<Guest>>>,
}
plimsoll::track!(Room { neighbours, guest });

#[derive(Default)]
struct Guest {
    room: Mutex<Option<Arc<Room>>>,
    home: Mutex<Weak<Room>>,
}
plimsoll::track!(Guest { room });

#[test]
fn arcs_are_arcs() {
    let room = Arc::new(Room::default());
    let other = room.clone();
    let weak = Arc::downgrade(&room);
    assert_eq!((Arc::strong_count(&room), Arc::weak_count(&room)), (2, 1));
    assert!(Arc::ptr_eq(&weak.upgrade().unwrap(), &other));
    drop((room, other));
    assert!(weak.upgrade().is_none());
}

#[test]
fn a_cycle_is_found_and_said() {
    let verdict = check(|| {
        let room = Arc::new(Room::default());
        let guest = Arc::new(Guest::default());
        *guest.room.lock().unwrap() = Some(room.clone());
        *room.guest.lock().unwrap() = Some(guest);
    });
    assert!(verdict.is_leak(), "{verdict}");
    let [cycle] = verdict.cycles.as_slice() else {
        panic!("{verdict}");
    };
    assert_eq!(cycle.kinds, ["Guest", "Room"]);
    assert_eq!((cycle.groups, cycle.values), (512, 1024));
    let text = verdict.to_string();
    for part in [
        "grows  Guest +1.00 per operation   tracked at ",
        "grows  Room +1.00 per operation   tracked at ",
        "cycle  of Arcs: Guest and Room hold each other, and nothing else holds them: 512 groups of 1,024 values\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(text.matches("tests/track.rs").count() >= 2, "{text}");
}

#[test]
fn the_same_with_a_weak_reference_is_neither_leak_nor_cycle() {
    let verdict = check(|| {
        let room = Arc::new(Room::default());
        let guest = Arc::new(Guest::default());
        *guest.home.lock().unwrap() = Arc::downgrade(&room);
        *room.guest.lock().unwrap() = Some(guest);
    });
    assert!(verdict.is_no_leak(), "{verdict}");
}

#[test]
fn what_somebody_holds_is_no_cycle() {
    static HELD: Mutex<Vec<Arc<Room>>> = Mutex::new(Vec::new());
    let verdict = check(|| {
        // Neighbours of each other: a cycle, but one that is held.
        let (a, b) = (Arc::new(Room::default()), Arc::new(Room::default()));
        a.neighbours.lock().unwrap().push(b.clone());
        b.neighbours.lock().unwrap().push(a.clone());
        HELD.lock().unwrap().push(a);
    });
    assert!(verdict.is_leak(), "{verdict}");
    assert_eq!(verdict.cycles, [], "{verdict}");
}

#[test]
fn a_gauge_that_grows_with_the_leak_is_named() {
    let sessions = std::sync::Arc::new(Mutex::new(HashMap::<u64, String>::new()));
    let shared = std::sync::Arc::clone(&sessions);
    let registration = plimsoll::gauge("sessions", move || Gauges {
        entries: shared.lock().ok().map(|map| map.len() as u64),
        ..Gauges::default()
    });
    let mut next = 0;
    let verdict = check(|| {
        next += 1;
        sessions
            .lock()
            .unwrap()
            .insert(next, "a session".to_owned());
    });
    assert!(verdict.is_leak(), "{verdict}");
    let text = verdict.to_string();
    assert!(
        text.contains("grows  sessions entries +1.00 per operation\n"),
        "{text}"
    );
    drop(registration);
    assert!(
        plimsoll::gauges()
            .iter()
            .all(|(name, _)| name != "sessions")
    );
}

#[test]
#[ignore = "a measurement: what counting a value costs"]
fn counting_costs_nanoseconds() {
    let each = |work: &dyn Fn()| {
        let best = (0..20).map(|_| {
            let started = std::time::Instant::now();
            (0..1_000_000).for_each(|_| work());
            started.elapsed().as_secs_f64() * 1e3
        });
        best.fold(f64::INFINITY, f64::min)
    };
    for _ in 0..3 {
        let plain = each(&|| drop(black_box(std::sync::Arc::new(Block::default()))));
        let counted = each(&|| drop(black_box(Arc::new(Block::default()))));
        let bare = each(&|| {
            black_box(Block::default());
        });
        let tracked = each(&|| drop(black_box(Tracked::new(Block::default()))));
        println!(
            "Arc {plain:.1} ns, counted {counted:.1} ns; a value {bare:.1} ns, tracked {tracked:.1} ns"
        );
    }
}

#[derive(Default)]
struct Block {
    _words: [u64; 4],
}
plimsoll::track!(Block);
