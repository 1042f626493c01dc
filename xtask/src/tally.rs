//! How many tests passed and failed, read from what the runners print.
//!
//! Four runners, four last lines:
//!
//! - nextest: `Summary [ 0.012s] 3 tests run: 2 passed (1 slow), 1 failed, 0 skipped`
//! - libtest: `test result: ok. 3 passed; 0 failed; 0 ignored; …`, once per test binary
//! - node: `ℹ pass 3`, `ℹ fail 0`, `ℹ cancelled 0`
//! - pytest, with `-q`: `1 failed, 2 passed, 1 skipped in 0.12s`
//!
//! Ignored and skipped tests count as neither. A line that is none of these counts nothing.

use std::ops::AddAssign;

/// Tests that passed and tests that did not.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Who prints. One is asked for at a time: the output of a test that nextest shows ends with a line of libtest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    Nextest,
    Libtest,
    Node,
    Pytest,
}

impl Runner {
    /// What one line of the output adds. Colours are ignored.
    pub(crate) fn tally(self, line: &str) -> Tally {
        let line = without_colour(line);
        self.counts(line.trim()).unwrap_or_default()
    }

    fn counts(self, line: &str) -> Option<Tally> {
        match self {
            Self::Nextest => {
                let (_, counts) = line.strip_prefix("Summary [")?.split_once(" run: ")?;
                Some(of_counts(&without_parentheses(counts), ','))
            }
            Self::Libtest => {
                let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
                Some(of_counts(counts, ';'))
            }
            Self::Pytest => {
                // Sessions that a test started, as a failed test shows them, end with a line framed in `=`.
                let (counts, seconds) = line.rsplit_once(" in ")?;
                let begins = line.starts_with(|c: char| c.is_ascii_digit());
                let ends =
                    seconds.starts_with(|c: char| c.is_ascii_digit()) && !seconds.ends_with('=');
                (begins && ends).then(|| of_counts(counts, ','))
            }
            Self::Node => {
                let (word, count) = line.strip_prefix("ℹ ")?.split_once(' ')?;
                let count = count.parse().ok()?;
                match word {
                    "pass" => Some(Tally {
                        passed: count,
                        failed: 0,
                    }),
                    "fail" | "cancelled" => Some(Tally {
                        passed: 0,
                        failed: count,
                    }),
                    _ => None,
                }
            }
        }
    }
}

/// `2 passed, 1 failed, 1 timed out, 1 exec failed, 3 skipped` with any separator.
fn of_counts(counts: &str, separator: char) -> Tally {
    let mut tally = Tally::default();
    for part in counts.split(separator) {
        let Some((count, what)) = part.trim().split_once(' ') else {
            continue;
        };
        let Ok(count) = count.parse::<u64>() else {
            continue;
        };
        match what.trim() {
            "passed" => tally.passed += count,
            "failed" | "timed out" | "exec failed" | "error" | "errors" => tally.failed += count,
            _ => {}
        }
    }
    tally
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0_u32;
    text.chars()
        .filter(|&character| {
            match character {
                '(' => depth += 1,
                ')' => {
                    depth = depth.saturating_sub(1);
                    return false;
                }
                _ => {}
            }
            depth == 0
        })
        .collect()
}

/// `line` without the escape sequences that colour it (`ESC [ … m` and its kin).
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::Runner::{self, Libtest, Nextest, Node, Pytest};
    use super::Tally;

    #[track_caller]
    fn check(runner: Runner, line: &str, passed: u64, failed: u64) {
        assert_eq!(runner.tally(line), Tally { passed, failed }, "{line}");
    }

    #[test]
    fn reads_nextest() {
        check(
            Nextest,
            "     Summary [   0.012s] 3 tests run: 3 passed, 0 skipped",
            3,
            0,
        );
        check(
            Nextest,
            "     Summary [   0.012s] 1 test run: 1 passed, 2 skipped",
            1,
            0,
        );
        check(
            Nextest,
            "     Summary [   9.012s] 12/20 tests run: 7 passed (1 slow, 2 leaky), 2 failed, 1 timed out, 2 exec failed, 8 skipped",
            7,
            5,
        );
        check(
            Nextest,
            "\u{1b}[31;1m     Summary\u{1b}[0m [   0.01s] \u{1b}[1m2\u{1b}[0m tests run: \u{1b}[1m1\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, \u{1b}[1m1\u{1b}[0m \u{1b}[31;1mfailed\u{1b}[0m, 0 skipped",
            1,
            1,
        );
    }

    #[test]
    fn reads_libtest() {
        check(
            Libtest,
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s",
            5,
            0,
        );
        check(
            Libtest,
            "test result: \u{1b}[31mFAILED\u{1b}(B\u{1b}[m. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
            4,
            1,
        );
    }

    #[test]
    fn reads_node() {
        check(Node, "ℹ pass 14", 14, 0);
        check(Node, "ℹ fail 2", 0, 2);
        check(Node, "ℹ cancelled 1", 0, 1);
        check(Node, "ℹ skipped 3", 0, 0);
        check(Node, "ℹ duration_ms 1443", 0, 0);
    }

    #[test]
    fn reads_pytest() {
        check(Pytest, "75 passed in 12.34s", 75, 0);
        check(
            Pytest,
            "1 failed, 3 passed, 2 skipped, 1 error in 312.07s (0:05:12)",
            3,
            2,
        );
        check(
            Pytest,
            "======== 2 failed, 3 passed in 1.72s ========",
            0,
            0,
        );
        check(
            Pytest,
            "2 judged (1 leak, 1 no leak), 0 screened only, 0 skipped",
            0,
            0,
        );
        check(Pytest, "no tests ran in 0.01s", 0, 0);
    }

    #[test]
    fn other_lines_count_nothing() {
        check(Nextest, "running 5 tests", 0, 0);
        check(
            Nextest,
            "        PASS [   0.005s] plimsoll-judge rounds::tests::flat",
            0,
            0,
        );
        check(Nextest, "12 passed, 3 failed", 0, 0);
        check(Libtest, "test result: what", 0, 0);
        // What a failed test printed, as nextest shows it.
        check(
            Nextest,
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored",
            0,
            0,
        );
        check(Nextest, "", 0, 0);
    }
}
