//! The frame log, as it is after a crash, a full disk or an attack: what can be read is read, the rest is counted.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use plimsoll_store::LogReader;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = LogReader::try_new(bytes, Path::new("log")) else {
        return;
    };
    let records = reader.by_ref().count();
    assert!(reader.torn_bytes() <= bytes.len() as u64);
    // The same bytes, the same records.
    let again = LogReader::try_new(bytes, Path::new("log")).map(Iterator::count);
    assert!(again.is_ok_and(|n| n == records));
});
