//! What a descriptor is open on, as a kind that stays the same from one request to the next.

use std::collections::BTreeMap;

/// Kinds told apart in one census; the rest is summed up as `other`.
const KINDS: usize = 64;
/// Kinds held while counting, so that a million temporary files take bounded memory.
const KINDS_WHILE_COUNTING: usize = 4096;
const OTHER: &str = "other";

/// The kind of a descriptor, from where its link in `/proc/PID/fd` points to: `socket`, `pipe`, `anon_inode:eventpoll`,
/// and for a path the path, with what looks generated in it as `#`.
pub(crate) fn kind_of(target: &[u8]) -> String {
    let target = String::from_utf8_lossy(target);
    if target.starts_with('/') {
        return collapse(&target);
    }
    if let Some(name) = target.strip_prefix("anon_inode:") {
        return format!("anon_inode:{}", name.trim_matches(['[', ']']));
    }
    // `socket:[81233]`, `pipe:[99]`, `mnt:[4026531840]`
    match target.split_once(":[") {
        Some((kind, _)) => kind.to_owned(),
        None => collapse(&target),
    }
}

/// Replaces digits and generated words of a path by `#`, so that `/tmp/upload-81a3f0c2.part` and its brothers are one kind.
fn collapse(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = after_uuid(rest) {
            out.push('#');
            rest = after;
            continue;
        }
        let word = rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        if word == 0 {
            let next = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..next]);
            rest = &rest[next..];
            continue;
        }
        if is_generated(&rest[..word]) {
            out.push('#');
        } else {
            let mut in_digits = false;
            for c in rest[..word].chars() {
                if !c.is_ascii_digit() {
                    out.push(c);
                } else if !in_digits {
                    out.push('#');
                }
                in_digits = c.is_ascii_digit();
            }
        }
        rest = &rest[word..];
    }
    out
}

/// What follows the UUID that `text` starts with.
fn after_uuid(text: &str) -> Option<&str> {
    let uuid = text.as_bytes().get(..36)?;
    let is_uuid = uuid.iter().enumerate().all(|(i, byte)| match i {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    is_uuid.then(|| &text[36..])
}

/// Whether a word looks like a hash or a random name: hexadecimal with digits and at least eight long,
/// or changing between letters and digits three times.
fn is_generated(word: &str) -> bool {
    let bytes = word.as_bytes();
    let has_digit = bytes.iter().any(u8::is_ascii_digit);
    let is_hexadecimal = bytes.iter().all(u8::is_ascii_hexdigit);
    let changes = bytes
        .windows(2)
        .filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit())
        .count();
    has_digit && (is_hexadecimal && bytes.len() >= 8 || changes >= 3)
}

/// Counts by kind, bounded.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    counts: BTreeMap<String, u64>,
}

impl Kinds {
    /// Counts one.
    pub(crate) fn add(&mut self, kind: String) {
        *self.counts.entry(kind).or_default() += 1;
        // The rarest make room, so that a kind met late is still counted.
        let mut rare = 1;
        while self.counts.len() > KINDS_WHILE_COUNTING {
            let mut folded = self.counts.remove(OTHER).unwrap_or(0);
            self.counts.retain(|_, count| {
                let stays = *count > rare;
                folded += if stays { 0 } else { *count };
                stays
            });
            self.counts.insert(OTHER.to_owned(), folded);
            rare *= 2;
        }
    }

    /// The most numerous kinds, the rest together as `other`. The counts sum to what was added.
    pub(crate) fn finish(mut self) -> BTreeMap<String, u64> {
        if self.counts.len() <= KINDS {
            return self.counts;
        }
        let mut rest = self.counts.remove(OTHER).unwrap_or(0);
        let mut ranked: Vec<(String, u64)> = self.counts.into_iter().collect();
        ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        rest += ranked
            .split_off(KINDS - 1)
            .iter()
            .map(|(_, n)| n)
            .sum::<u64>();
        let mut kinds: BTreeMap<String, u64> = ranked.into_iter().collect();
        kinds.insert(OTHER.to_owned(), rest);
        kinds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_does_not_depend_on_numbers() {
        for (target, kind) in [
            ("socket:[81233]", "socket"),
            ("pipe:[7]", "pipe"),
            ("anon_inode:[eventpoll]", "anon_inode:eventpoll"),
            ("anon_inode:inotify", "anon_inode:inotify"),
            ("mnt:[4026531840]", "mnt"),
            ("/dev/null", "/dev/null"),
            ("/dev/pts/12", "/dev/pts/#"),
            ("/tmp/x.log", "/tmp/x.log"),
            (
                "/tmp/part-00012-of-99 (deleted)",
                "/tmp/part-#-of-# (deleted)",
            ),
            ("/tmp/upload_81a3f0c2.part", "/tmp/upload_#.part"),
            ("/t/3e0b4d6a-19c2-4a51-9f7e-0c1d2e3f4a5b", "/t/#"),
            ("/tmp/k3j9x2a/data", "/tmp/#/data"),
            ("/usr/lib/libssl3.so", "/usr/lib/libssl#.so"),
            ("/srv/facade/deadbeef", "/srv/facade/deadbeef"),
            ("/srv/daten/zähler7", "/srv/daten/zähler#"),
        ] {
            assert_eq!(kind_of(target.as_bytes()), kind, "{target}");
        }
    }

    #[test]
    fn a_census_is_bounded_and_keeps_its_sum() {
        let mut kinds = Kinds::default();
        for i in 0..10_000_u32 {
            // Letters only, so that every name is a kind of its own.
            let name: String = i
                .to_string()
                .bytes()
                .map(|b| char::from(b - b'0' + b'g'))
                .collect();
            kinds.add(format!("/tmp/{name}"));
        }
        for _ in 0..500 {
            kinds.add("socket".to_owned());
        }
        let counts = kinds.finish();
        assert_eq!(counts.len(), KINDS);
        assert_eq!(counts.get("socket"), Some(&500));
        assert_eq!(counts.values().sum::<u64>(), 10_500);
    }
}
