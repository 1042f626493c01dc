//! What must hold for every log: exact round trips, and damage that is found, bounded and never fatal.

use std::path::Path;

use plimsoll_model::{
    Exit, Latency, Metric, Ns, ProcessId, ProcessInfo, Role, RoundKind, RoundRecord, Sample,
    Source, SourceId,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::encode::Encoder;
use crate::frame::{
    FRAME_HEADER_LEN, HEADER_LEN, KIND_CODED, KIND_COLUMNS, append_frame, append_varint, header,
};
use crate::{LogReader, Record};

/// What happens to an encoder.
#[derive(Debug, Clone)]
enum Step {
    Row(Ns, SourceId, Vec<(Metric, f64)>),
    Record(Record),
    EndBatch,
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        // Counters and sizes, as they mostly are,
        (0_i64..1 << 40).prop_map(|v| v as f64),
        // seconds of CPU,
        (0_i64..1_000_000).prop_map(|v| v as f64 / 100.0),
        // and everything else: infinities, every NaN, negative zero.
        any::<u64>().prop_map(f64::from_bits),
        Just(-0.0),
    ]
}

fn at() -> impl Strategy<Value = Ns> {
    prop_oneof![
        4 => (0_u64..1 << 45).prop_map(Ns),
        1 => any::<u64>().prop_map(Ns),
    ]
}

fn row() -> impl Strategy<Value = Step> {
    let metric = prop_oneof![
        4 => prop::sample::select(vec![Metric::RSS, Metric::HEAP_USED, Metric::CPU_SECONDS]),
        1 => ".{0,12}".prop_map(Metric::named),
    ];
    // The same reading twice in a row is a row too.
    let readings = vec((metric, value()), 1..6);
    (at(), 0_u32..3, readings)
        .prop_map(|(at, source, readings)| Step::Row(at, SourceId(source), readings))
}

fn other() -> impl Strategy<Value = Record> {
    let id =
        (any::<u32>(), any::<u64>()).prop_map(|(pid, start_ticks)| ProcessId { pid, start_ticks });
    let name = ".{0,20}";
    prop_oneof![
        (at(), name).prop_map(|(at, what)| Record::Mark { at, what }),
        (at(), name, name).prop_map(|(at, what, why)| Record::Gap { at, what, why }),
        (at(), any::<u64>()).prop_map(|(at, unix_ns)| Record::Clock { at, unix_ns }),
        (at(), any::<u64>()).prop_map(|(at, count)| Record::Drops { at, count }),
        (at(), id.clone(), any::<Option<i32>>()).prop_map(|(at, process, status)| Record::Exit {
            at,
            process,
            exit: status.map(Exit::Status),
        }),
        (at(), any::<u32>(), name, any::<Option<u64>>()).prop_map(|(at, source, kind, after)| {
            Record::Collection {
                at,
                source: SourceId(source),
                kind,
                pause_ns: at.0,
                before: None,
                after,
            }
        }),
        (id.clone(), any::<u32>()).prop_map(|(process, id)| Record::Source(Source {
            id: SourceId(id),
            process,
            isolate: Some(id),
            role: Role::Service,
        })),
        (at(), id, vec(name, 0..3)).prop_map(|(at, id, command)| Record::Process {
            at,
            process: Box::new(ProcessInfo {
                id,
                parent: 1,
                role: Role::Wrapper,
                executable: None,
                command,
                runtime: None,
            }),
        }),
        (at(), -1e12..1e12_f64).prop_map(|(end, value)| Record::Round(Box::new(RoundRecord {
            index: 7,
            kind: RoundKind::Measured,
            start: Ns(0),
            end,
            done: 500,
            errors: 0,
            operations_so_far: 4000,
            reconnects: 1,
            connections: 10,
            latency: Latency::default(),
            bytes_in: 75_000,
            driver_cpu_s: 0.1,
            collected: true,
            counted: false,
            parts: Vec::new(),
            values: [(Metric::LIVE_BYTES, value)].into(),
        }))),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => row(),
        2 => other().prop_map(Step::Record),
        1 => Just(Step::EndBatch),
    ];
    vec(step, 0..120)
}

/// The bytes of a log and the records in it.
fn write(steps: &[Step]) -> (Vec<u8>, Vec<Record>) {
    let mut encoder = Encoder::try_new().expect("memory for a compressor");
    let mut series: Vec<(SourceId, Metric)> = Vec::new();
    let mut kinds: Vec<(Vec<u32>, u32)> = Vec::new();
    let mut records = Vec::new();
    for step in steps {
        match step {
            Step::EndBatch => encoder.end_batch().expect("compressible"),
            Step::Record(record) => {
                encoder.record(record);
                records.push(record.clone());
            }
            Step::Row(at, source, readings) => {
                let row: Vec<u32> = readings
                    .iter()
                    .map(|(metric, _)| {
                        let key = (*source, metric.clone());
                        let known = series.iter().position(|s| *s == key);
                        known.unwrap_or_else(|| {
                            encoder.series(key.0, &key.1);
                            series.push(key);
                            series.len() - 1
                        }) as u32
                    })
                    .collect();
                let known = kinds.iter().find(|(known, _)| *known == row);
                let kind = known.map_or_else(|| encoder.row_kind(&row), |&(_, kind)| kind);
                kinds.push((row, kind));
                encoder.row(kind, *at, readings.iter().map(|&(_, value)| value));
                records.extend(readings.iter().map(|(metric, value)| {
                    Record::Sample(Sample {
                        at: *at,
                        source: *source,
                        metric: metric.clone(),
                        value: *value,
                    })
                }));
            }
        }
    }
    encoder.end_log().expect("compressible");
    (std::mem::take(encoder.frames()), records)
}

/// Everything a reader gives out: records, bytes cut, and whether the log was closed.
fn read(bytes: &[u8]) -> (Vec<Record>, u64, bool) {
    let mut reader = LogReader::try_new(bytes, Path::new("a log")).expect("a whole header");
    let records: Vec<Record> = reader.by_ref().collect();
    (records, reader.torn_bytes(), reader.is_closed())
}

/// Equal to the last bit: NaN is not equal to itself, its bits are.
fn same(a: &[Record], b: &[Record]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|pair| match pair {
            (Record::Sample(a), Record::Sample(b)) => {
                (a.at, a.source, &a.metric) == (b.at, b.source, &b.metric)
                    && a.value.to_bits() == b.value.to_bits()
            }
            (a, b) => a == b,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_back_to_the_last_bit_and_in_order(steps in steps()) {
        let (bytes, records) = write(&steps);
        let (got, torn, closed) = read(&bytes);
        prop_assert!(same(&got, &records), "{got:?}\n{records:?}");
        prop_assert_eq!(torn, 0);
        prop_assert!(closed);
    }

    #[test]
    fn any_cut_tail_reads_back_as_a_prefix(steps in steps(), cut in any::<prop::sample::Index>()) {
        let (bytes, records) = write(&steps);
        let kept = HEADER_LEN + cut.index(bytes.len() - HEADER_LEN);
        let (got, torn, closed) = read(&bytes[..kept]);
        prop_assert!(got.len() <= records.len() && same(&got, &records[..got.len()]));
        prop_assert!(torn < bytes.len() as u64);
        prop_assert!(!closed, "the end mark is the last frame");
    }

    #[test]
    fn any_flipped_byte_ends_the_log_at_its_frame(
        steps in steps(), place in any::<prop::sample::Index>(), flip in 1_u8..=255,
    ) {
        let (mut bytes, records) = write(&steps);
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        if place < HEADER_LEN {
            prop_assert!(LogReader::try_new(&bytes[..], Path::new("a log")).is_err());
            return Ok(());
        }
        let (got, torn, closed) = read(&bytes);
        prop_assert!(got.len() <= records.len() && same(&got, &records[..got.len()]));
        prop_assert!(torn as usize >= bytes.len() - place, "cut from the frame of byte {place} on, not {torn} bytes");
        prop_assert!(!closed);
    }

    #[test]
    fn arbitrary_bytes_are_survived(bytes in vec(any::<u8>(), 0..400)) {
        let _ = LogReader::try_new(&bytes[..], Path::new("a log")).map(Iterator::count);
        let mut log = header().to_vec();
        log.extend_from_slice(&bytes);
        let (_, torn, _) = read(&log);
        prop_assert!(torn <= bytes.len() as u64);
    }

    #[test]
    fn arbitrary_contents_under_a_right_checksum_are_survived(
        frames in vec((0_u8..6, vec(any::<u8>(), 0..60), any::<bool>()), 1..6),
    ) {
        let mut log = header().to_vec();
        for (kind, contents, compressed) in &frames {
            let payload = if *kind == KIND_COLUMNS && *compressed {
                let mut payload = (contents.len() as u32).to_le_bytes().to_vec();
                payload.append(&mut zstd::bulk::compress(contents, 1).expect("compressible"));
                payload
            } else {
                contents.clone()
            };
            append_frame(&mut log, *kind, &payload);
        }
        let (_, torn, _) = read(&log);
        prop_assert!(torn <= (log.len() - HEADER_LEN) as u64);
    }
}

/// A log with one batch that holds `raw` behind a right checksum.
fn with_batch(raw: &[u8], declared: u32) -> Vec<u8> {
    let mut payload = declared.to_le_bytes().to_vec();
    payload.append(&mut zstd::bulk::compress(raw, 1).expect("compressible"));
    let mut log = header().to_vec();
    append_frame(&mut log, KIND_COLUMNS, &payload);
    log
}

#[test]
fn lengths_that_promise_more_than_there_is_cost_nothing() {
    // A frame of 4 GiB, a batch of 4 GiB, a batch of 2^60 items, in the way of either version.
    let mut log = header().to_vec();
    log.extend_from_slice(&[0xff; FRAME_HEADER_LEN]);
    assert_eq!(read(&log), (vec![], FRAME_HEADER_LEN as u64, false));

    let log = with_batch(b"x", u32::MAX);
    assert_eq!(read(&log), (vec![], (log.len() - HEADER_LEN) as u64, false));

    let mut raw = Vec::new();
    append_varint(&mut raw, 1 << 60);
    let log = with_batch(&raw, raw.len() as u32);
    assert_eq!(read(&log), (vec![], (log.len() - HEADER_LEN) as u64, false));

    raw.push(0);
    let mut log = header().to_vec();
    append_frame(&mut log, KIND_CODED, &raw);
    assert_eq!(read(&log), (vec![], (log.len() - HEADER_LEN) as u64, false));
}

#[test]
fn a_record_of_a_later_version_is_skipped_and_counted() {
    let mut raw = Vec::new();
    let known = br#"{"mark":{"at":5,"what":"round","colour":"blue"}}"#;
    let unknown = br#"{"weather":{"at":5,"rain":true}}"#;
    append_varint(&mut raw, 2);
    raw.extend_from_slice(&[0, 0]);
    for json in [&unknown[..], &known[..]] {
        append_varint(&mut raw, json.len() as u64);
        raw.extend_from_slice(json);
    }
    let log = with_batch(&raw, raw.len() as u32);
    let mut reader = LogReader::try_new(&log[..], Path::new("a log")).expect("a whole header");
    let records: Vec<Record> = reader.by_ref().collect();
    let mark = Record::Mark {
        at: Ns(5),
        what: "round".to_owned(),
    };
    assert_eq!(records, [mark]);
    assert_eq!((reader.unknown_records(), reader.torn_bytes()), (1, 0));
}

#[test]
fn a_record_that_could_not_be_read_back_is_said_to_be_missing() {
    let mut encoder = Encoder::try_new().expect("memory for a compressor");
    encoder.record(&Record::Mark {
        at: Ns(9),
        what: "x".repeat(crate::frame::MAX_RECORD),
    });
    encoder.end_log().expect("compressible");
    let (records, torn, closed) = read(encoder.frames());
    assert!(matches!(&records[..], [Record::Gap { at: Ns(9), what, .. }] if what == "record"));
    assert_eq!((torn, closed), (0, true));
}

#[test]
fn another_version_is_an_error_that_names_both() {
    let mut newer = header();
    newer[8] = 3;
    let checksum = crc32fast::hash(&newer[..12]).to_le_bytes();
    newer[12..].copy_from_slice(&checksum);
    let error =
        LogReader::try_new(&newer[..], Path::new("samples.plog")).expect_err("another version");
    assert_eq!(
        error.to_string(),
        "samples.plog is written as log version 3, this plimsoll reads log versions 1 to 2; use the version that wrote \
         it, or a newer one"
    );
}
