//! The table of a soak: appended row by row, and read again where a soak goes on.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::super::bench::MB;
use super::super::child::Trouble;

/// The document's own.
const HEADER: &str = "timestamp,elapsed_hours,heap_mb,rss_mb,created_count\n";

/// One sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row {
    pub(super) unix_ms: u64,
    pub(super) hours: f64,
    pub(super) heap: f64,
    pub(super) rss: f64,
    pub(super) created: u64,
}

impl Row {
    fn line(&self) -> String {
        format!(
            "{},{:.2},{:.2},{:.2},{}\n",
            self.unix_ms,
            self.hours,
            self.heap / MB,
            self.rss / MB,
            self.created
        )
    }

    fn parse(line: &str) -> Option<Self> {
        let mut cells = line.split(',');
        let row = Self {
            unix_ms: cells.next()?.parse().ok()?,
            hours: cells.next()?.parse().ok()?,
            heap: cells.next()?.parse::<f64>().ok()? * MB,
            rss: cells.next()?.parse::<f64>().ok()? * MB,
            created: cells.next()?.parse().ok()?,
        };
        cells.next().is_none().then_some(row)
    }
}

/// What a table had when it was opened.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    pub(super) rows: Vec<Row>,
    /// Processes before this one.
    pub(super) lives: u64,
}

/// The file, and where its last whole row ends.
#[derive(Debug)]
pub(super) struct Table {
    file: File,
    path: PathBuf,
    end: u64,
}

impl Table {
    /// A new one, or with `resume` the one that is there, without a row that is torn.
    pub(super) fn open(path: &Path, resume: bool) -> Result<(Self, Resumed), Trouble> {
        let fails = |error: &io::Error| unwritable(path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        if resume && path.exists() {
            let mut file = options.open(path).map_err(|e| fails(&e))?;
            let mut text = String::new();
            file.read_to_string(&mut text).map_err(|e| fails(&e))?;
            // What was being written when it was killed was never a row.
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            let rows = rows(&text[..whole]).ok_or_else(|| foreign(path))?;
            let mut table = Self {
                file,
                path: path.to_owned(),
                end: whole as u64,
            };
            if whole == 0 {
                table.append(HEADER)?;
            } else {
                table.cut()?;
            }
            let lives = table.begin_life(rows.len())?;
            return Ok((table, Resumed { rows, lives }));
        }
        let file = options.create_new(true).open(path).map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                Trouble::Failed {
                    what: format!("{} is there already", path.display()),
                    details: Vec::new(),
                    hint: Some(
                        "`--resume` goes on where it ends, `--csv` names another one".to_owned(),
                    ),
                }
            } else {
                fails(&error)
            }
        })?;
        let mut table = Self {
            file,
            path: path.to_owned(),
            end: 0,
        };
        table.append(HEADER)?;
        // Of a table that was removed, its notes may have stayed.
        let _ = std::fs::remove_file(lives_of(path));
        table.begin_life(0)?;
        Ok((table, Resumed::default()))
    }

    pub(super) fn add(&mut self, row: Row) -> Result<(), Trouble> {
        self.append(&row.line())
    }

    /// A line as a whole, or not at all.
    fn append(&mut self, line: &str) -> Result<(), Trouble> {
        let at = SeekFrom::Start(self.end);
        let written = self
            .file
            .seek(at)
            .and_then(|_| self.file.write_all(line.as_bytes()))
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.end += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                let _ = self.file.set_len(self.end);
                Err(unwritable(&self.path, &error))
            }
        }
    }

    fn cut(&mut self) -> Result<(), Trouble> {
        let cut = self.file.set_len(self.end);
        cut.map_err(|error| unwritable(&self.path, &error))
    }

    /// Notes that a process begins after so many rows; how many began before.
    fn begin_life(&self, rows: usize) -> Result<u64, Trouble> {
        let path = lives_of(&self.path);
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let lives = before.lines().count() as u64;
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .and_then(|mut file| writeln!(file, "{rows}"))
            .map_err(|error| unwritable(&path, &error))?;
        Ok(lives)
    }
}

/// Beside the table: before which of its rows a process began.
fn lives_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".starts");
    name.into()
}

/// `None` if it is not a table of a soak.
fn rows(text: &str) -> Option<Vec<Row>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.strip_prefix(HEADER)?.lines().map(Row::parse).collect()
}

fn unwritable(path: &Path, error: &io::Error) -> Trouble {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room, then `--resume` goes on after the last whole row"
        }
        _ => "`--csv` names another file",
    };
    Trouble::Failed {
        what: format!("{} cannot be written: {error}", path.display()),
        details: Vec::new(),
        hint: Some(hint.to_owned()),
    }
}

fn foreign(path: &Path) -> Trouble {
    Trouble::Failed {
        what: format!("{} is not the table of a soak", path.display()),
        details: vec![format!("it must begin with {}", HEADER.trim_end())],
        hint: Some("`--csv` names another file".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(created: u64) -> Row {
        Row {
            unix_ms: 1_700_000_000_000 + created,
            hours: created as f64 / 6_000.0,
            heap: 5.25 * MB,
            rss: 60.5 * MB,
            created,
        }
    }

    #[test]
    fn a_table_is_the_documents() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("soak.csv");
        let (mut table, _) = Table::open(&path, false).unwrap();
        table.add(row(100)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "timestamp,elapsed_hours,heap_mb,rss_mb,created_count\n1700000000100,0.02,5.25,60.50,100\n"
        );
    }

    #[test]
    fn a_torn_row_is_cut_and_the_next_follows_the_last_whole_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("soak.csv");
        let (mut table, _) = Table::open(&path, false).unwrap();
        table.add(row(100)).unwrap();
        table.add(row(200)).unwrap();
        drop(table);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}17000000003")).unwrap();
        let (mut table, resumed) = Table::open(&path, true).unwrap();
        assert_eq!(resumed.rows.len(), 2);
        assert_eq!(resumed.rows[1].created, 200);
        assert_eq!(resumed.lives, 1);
        table.add(row(300)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{whole}{}", row(300).line()));
    }

    #[test]
    fn what_is_there_is_not_overwritten_and_what_is_foreign_not_continued() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("soak.csv");
        std::fs::write(&path, "a,b\n1,2\n").unwrap();
        for resume in [false, true] {
            let refused = Table::open(&path, resume);
            assert!(matches!(
                refused,
                Err(Trouble::Failed { hint: Some(_), .. })
            ));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a,b\n1,2\n");
    }
}
