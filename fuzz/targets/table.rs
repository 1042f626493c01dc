//! What `plimsoll analyze` reads: tables, logs of other tools, JSON in several shapes, packed or not.
//!
//! Whatever the bytes are, the reader answers with series or with an error that says what is wrong.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use plimsoll_store::table::{Choice, Found, read_from};

fuzz_target!(|bytes: &[u8]| {
    match read_from(bytes, Path::new("input"), &Choice::default()) {
        Ok(Found::Tables(tables)) => {
            assert!(!tables.is_empty(), "no series and no error");
            for table in tables {
                let n = table.t_ns.len();
                assert_eq!(table.value.len(), n);
                for column in [
                    table.operations.len(),
                    table.load.len(),
                    table.collected.len(),
                    table.epoch.len(),
                ] {
                    assert!(
                        column == n || column == 0,
                        "a column of {column} beside {n} readings"
                    );
                }
            }
        }
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
