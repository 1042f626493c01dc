//! Counts that another process reads: while it works, after it was killed, and of a child that it forked.

#![expect(unsafe_code, reason = "there is no other way to fork")]
#![expect(clippy::unwrap_used, reason = "tests, and what they share")]
#![expect(
    clippy::print_stdout,
    reason = "it speaks to the runners of tests as their harness would"
)]
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use plimsoll_alloc::{
    Published, REGION_VARIABLE, Scope, Scoped, ask_for_samples, read_published, read_surviving,
};

#[global_allocator]
static ALLOCATOR: Scoped = Scoped::new();

/// This program once more, as a service that keeps what it is told to.
struct Service {
    child: Child,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
}

const SERVES: &str = "PLIMSOLL_TEST_SERVES";

fn main() {
    if std::env::var_os(SERVES).is_some() {
        return serve();
    }
    // What the runners of tests ask a program without libtest's harness, which would allocate beside the service.
    if std::env::args().any(|argument| argument == "--list") {
        if !std::env::args().any(|argument| argument == "--ignored") {
            println!("published_counts: test");
        }
        return;
    }
    if cfg!(miri) {
        println!("test result: ok. 0 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out");
        return;
    }
    counts_are_read_while_it_works_and_after_it_was_killed();
    a_forked_child_publishes_for_itself();
    samples_that_were_asked_for_are_read_with_their_scope_after_it_was_killed();
    what_is_no_region_is_said();
    println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

/// What runs in the service.
fn serve() {
    let mut kept: Vec<Vec<u8>> = Vec::with_capacity(100);
    let scope = Scope::open("letters").unwrap();
    let mut line = String::with_capacity(100);
    while io::stdin()
        .lock()
        .read_line(&mut line)
        .is_ok_and(|read| read > 0)
    {
        match line.trim() {
            "fork" => {
                // SAFETY: the child only allocates, answers, waits and leaves.
                let child = unsafe { libc::fork() };
                if child == 0 {
                    std::mem::forget(std::hint::black_box(vec![1_u8; 1_000_000]));
                    // SAFETY: its own id, and a pause until it is killed.
                    unsafe {
                        println!("\nanswer {}", libc::getpid());
                        libc::pause();
                    }
                }
            }
            "in scope" => {
                kept.push(scope.run(|| vec![1; 777]));
                println!("\nanswer 777");
            }
            bytes => {
                kept.push(vec![1; bytes.parse().unwrap()]);
                println!("\nanswer {bytes}");
            }
        }
        line.clear();
    }
}

impl Service {
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("plimsoll-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(SERVES, "1")
            .env(REGION_VARIABLE, &folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            answers,
            folder,
        }
    }

    /// Tells it something; its answer.
    fn ask(&mut self, what: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{what}").unwrap();
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "it ended");
            if let Some(answer) = line.trim().strip_prefix("answer ") {
                return answer.to_owned();
            }
        }
    }

    fn published(&self, pid: &str) -> Published {
        read(&self.folder.join(pid)).unwrap().expect("it has begun")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn read(path: &Path) -> io::Result<Option<Published>> {
    read_published(&File::open(path)?)
}

fn counts_are_read_while_it_works_and_after_it_was_killed() {
    let mut service = Service::start("killed");
    let pid = service.child.id().to_string();
    service.ask("10");
    let before = service.published(&pid);
    service.ask("123456");
    service.ask("1000");
    let after = service.published(&pid);
    assert_eq!(after.live_bytes - before.live_bytes, 124_456);
    assert_eq!(after.live_blocks - before.live_blocks, 2);
    assert!(after.allocated_bytes >= before.allocated_bytes + 124_456);
    service.child.kill().unwrap();
    service.child.wait().unwrap();
    assert_eq!(service.published(&pid), after);
}

fn a_forked_child_publishes_for_itself() {
    let mut service = Service::start("forked");
    let pid = service.child.id().to_string();
    service.ask("10");
    let before = service.published(&pid);
    let child = service.ask("fork");
    let of_child = service.published(&child);
    // It began with what its parent had, and keeps a million more.
    let more = of_child.live_bytes - before.live_bytes;
    assert!((1_000_000..1_010_000).contains(&more), "{more}");
    assert_eq!(service.published(&pid).live_bytes, before.live_bytes);
    // The parent is not in the child's way either.
    service.ask("5000");
    assert_eq!(service.published(&pid).live_bytes - before.live_bytes, 5000);
    assert_eq!(service.published(&child), of_child);
    // SAFETY: a process that this one's child has made for it, and that still waits.
    unsafe { libc::kill(child.parse().unwrap(), libc::SIGKILL) };
}

fn samples_that_were_asked_for_are_read_with_their_scope_after_it_was_killed() {
    let mut service = Service::start("sampled");
    let path = service.folder.join(service.child.id().to_string());
    service.ask("10");
    let file = File::options().read(true).write(true).open(&path).unwrap();
    ask_for_samples(&file, 1).unwrap();
    // A thread looks when it has allocated so much.
    service.ask("70000");
    service.ask("5000");
    service.ask("in scope");
    service.child.kill().unwrap();
    service.child.wait().unwrap();
    let left = read_surviving(&File::open(&path).unwrap())
        .unwrap()
        .unwrap();
    assert_eq!(left.dropped, 0);
    let block = |size| left.blocks.iter().find(|block| block.size == size);
    let (plain, scoped) = (block(5_000).unwrap(), block(777).unwrap());
    assert_eq!((plain.every, plain.weight()), (1, 1.0));
    assert!(plain.frames.len() > 3 && plain.born_ns <= scoped.born_ns);
    assert_eq!(
        (plain.scope.as_deref(), scoped.scope.as_deref()),
        (None, Some("letters"))
    );
    let letters = left
        .scopes
        .iter()
        .find(|scope| scope.name == "letters")
        .unwrap();
    assert_eq!((letters.live_bytes, letters.live_blocks), (777, 1));
    // Nothing was sampled of what came before.
    assert_eq!(block(10), None);
}

fn what_is_no_region_is_said() {
    let path = std::env::temp_dir().join(format!("plimsoll-no-region-{}", std::process::id()));
    let told = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        let told = read(&path).map_err(|error| error.to_string());
        fs::remove_file(&path).unwrap();
        told
    };
    assert_eq!(told(b""), Ok(None));
    assert_eq!(told(&[0; 4096]), Ok(None), "not begun");
    let short = "the file is too short for a region of counts";
    assert_eq!(told(b"PLIMS"), Err(short.to_owned()));
    let other = "the file is no region of counts";
    assert_eq!(told(&[7; 4096]), Err(other.to_owned()));
    let mut of_tomorrow = [0; 4096];
    of_tomorrow[..8].copy_from_slice(b"PLIMSREG");
    of_tomorrow[8] = 200;
    let error = told(&of_tomorrow).unwrap_err();
    assert!(
        error.starts_with("the region is of version 200 and 0 bytes; version 1 of "),
        "{error}"
    );
    let mut cut_off = of_tomorrow;
    cut_off[8] = 1;
    cut_off[16..24].copy_from_slice(&region_bytes().to_ne_bytes());
    assert_eq!(told(&cut_off), Err(short.to_owned()));
}

/// How large a region is, as the message about another one says.
fn region_bytes() -> u64 {
    let path = std::env::temp_dir().join(format!("plimsoll-size-{}", std::process::id()));
    let mut other = [0; 4096];
    other[..8].copy_from_slice(b"PLIMSREG");
    fs::write(&path, other).unwrap();
    let error = read(&path).unwrap_err().to_string();
    fs::remove_file(&path).unwrap();
    let words: Vec<&str> = error.split(' ').collect();
    words[words.len() - 4].parse().unwrap()
}
