//! This program's own stack, named from outside.

use std::fs::read_to_string;

use plimsoll_native::Symbols;

/// The stack of who calls, and the line that does.
#[inline(never)]
fn stack() -> Vec<u64> {
    let mut addresses = Vec::new();
    backtrace::trace(|frame| {
        addresses.push(frame.ip() as u64);
        true
    });
    addresses
}

#[test]
fn a_stack_is_named_by_function_file_and_line() {
    let (addresses, line) = (stack(), line!());
    let maps = read_to_string("/proc/self/maps").expect("the mappings of this process");
    let mut symbols = Symbols::new(&maps, "/");
    let frames: Vec<_> = addresses
        .into_iter()
        .flat_map(|address| symbols.frames(address))
        .collect();
    let here = frames
        .iter()
        .find(|frame| {
            frame
                .function
                .ends_with("a_stack_is_named_by_function_file_and_line")
        })
        .unwrap_or_else(|| panic!("the test is not among {frames:#?}"));
    assert_eq!(here.line, Some(line));
    let file = here.file.as_deref().unwrap_or_default();
    assert!(file.ends_with("crates/native/tests/itself.rs"), "{file}");
}

#[test]
fn what_is_nowhere_has_no_name() {
    let mut symbols = Symbols::new("1000-2000 r-xp 00000000 00:00 0 /no/such/program\n", "/");
    assert_eq!(symbols.frames(0), []);
    assert_eq!(symbols.frames(0x1800), []);
    assert_eq!(symbols.frames(0x9000), []);
}

#[test]
fn a_file_that_is_no_program_names_nothing() {
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let mut symbols = Symbols::new(&format!("1000-2000 r-xp 00000000 00:00 0 {text}\n"), "/");
    assert_eq!(symbols.frames(0x1010), []);
}
