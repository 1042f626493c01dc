//! Where the files of a process are mapped.

use std::ops::Range;

/// A part of a file that can be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) range: Range<u64>,
    /// Of its first byte in the file.
    pub(crate) offset: u64,
    pub(crate) path: String,
}

/// Those of the text of `/proc/PID/maps`; lines that are none are left out.
pub(crate) fn parse(text: &str) -> Vec<Mapping> {
    text.lines().filter_map(line).collect()
}

/// `START-END r-xp OFFSET DEVICE INODE       PATH`.
fn line(text: &str) -> Option<Mapping> {
    let mut words = text.splitn(6, ' ');
    let hex = |word: &str| u64::from_str_radix(word, 16).ok();
    let (start, end) = words.next()?.split_once('-')?;
    let range = hex(start)?..hex(end)?;
    let is_code = words.next()?.contains('x');
    let offset = hex(words.next()?)?;
    let path = words.nth(2)?.trim_start();
    // A program that was built anew while it runs is under its old name, marked.
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    (is_code && path.starts_with('/')).then(|| Mapping {
        range,
        offset,
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_files_is_kept_and_nothing_else() {
        let text = "\
55d0c0a00000-55d0c0a21000 r--p 00000000 08:01 123                        /opt/a service
55d0c0a21000-55d0c0b00000 r-xp 00021000 08:01 123                        /opt/a service (deleted)
7ffd1c9fe000-7ffd1ca00000 r-xp 00000000 00:00 0                          [vdso]
7f0000000000-7f0000001000 rwxp 00000000 00:00 0 
nonsense
";
        let only = Mapping {
            range: 0x55d0_c0a2_1000..0x55d0_c0b0_0000,
            offset: 0x21000,
            path: "/opt/a service".to_owned(),
        };
        assert_eq!(parse(text), [only]);
    }
}
