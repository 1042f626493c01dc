//! `service PATH PROGRAM [ARGUMENTS] [TURNS]`: what publishing with sampled stacks (one block every 512 KiB) costs a service.
//!
//! The program is started with a port as its last argument, once publishing, twice not, and asked the same number of requests by turns in
//! shuffled order over one connection; its CPU time by request is compared, and the two that do not publish with each other.
//! All of it runs on one CPU: what it costs to wake another one is more than the request, and depends on who is where.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const REQUESTS: u64 = 4_000;
const TURNS: usize = 40;

struct Service {
    child: Child,
    stream: BufReader<TcpStream>,
    taken: Vec<f64>,
}

impl Service {
    fn start(command: &[String], path: &str, region: Option<&Path>) -> Self {
        let address = TcpListener::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr();
        let address = address.expect("a port");
        let mut program = Command::new(&command[0]);
        program
            .args(&command[1..])
            .arg(address.port().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(region) = region {
            program.env("PLIMSOLL_REGION", region);
        }
        let child = program.spawn().expect("the service starts");
        let deadline = Instant::now() + Duration::from_secs(20);
        let stream = loop {
            match TcpStream::connect(address) {
                Ok(stream) => break stream,
                Err(_) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("the service does not listen: {error}"),
            }
        };
        stream.set_nodelay(true).expect("a socket");
        let mut service = Self {
            child,
            stream: BufReader::new(stream),
            taken: Vec::new(),
        };
        service.ask(path, REQUESTS);
        service
    }

    fn ask(&mut self, path: &str, requests: u64) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: service\r\n\r\n");
        let (mut line, mut body) = (String::new(), Vec::new());
        for _ in 0..requests {
            self.stream
                .get_mut()
                .write_all(request.as_bytes())
                .expect("it listens");
            let mut length = 0;
            loop {
                line.clear();
                self.stream.read_line(&mut line).expect("it answers");
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                if line == "\r\n" {
                    break;
                }
                assert!(!line.is_empty(), "it hung up");
            }
            body.resize(length, 0);
            self.stream.read_exact(&mut body).expect("a body");
        }
    }

    /// CPU nanoseconds of all its threads, as the scheduler counts them.
    fn cpu(&self) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it lives");
        let each = tasks.flatten().map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let first = text
                .split(' ')
                .next()
                .and_then(|word| word.parse::<f64>().ok());
            first.unwrap_or_default()
        });
        each.sum()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps this process, and all that it starts, on the last CPU it may use.
fn stay_on_one_cpu() {
    // SAFETY: both calls are given a set of their own, which is a plain array of bits.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        let size = size_of::<libc::cpu_set_t>();
        assert_eq!(libc::sched_getaffinity(0, size, &raw mut allowed), 0);
        let last = (0..libc::CPU_SETSIZE as usize).rfind(|&cpu| libc::CPU_ISSET(cpu, &allowed));
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(last.expect("a CPU"), &mut one);
        assert_eq!(libc::sched_setaffinity(0, size, &raw const one), 0);
    }
}

fn main() {
    stay_on_one_cpu();
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let turns = arguments.last().and_then(|last| last.parse().ok());
    if turns.is_some() {
        arguments.pop();
    }
    assert!(
        arguments.len() >= 2,
        "usage: service PATH PROGRAM [ARGUMENTS] [TURNS]"
    );
    let path = arguments.remove(0);
    let region = std::env::temp_dir().join(format!("plimsoll-bench-{}", std::process::id()));
    fs::create_dir(&region).expect("a folder");
    let mut services = [None, None, Some(region.as_path())]
        .map(|region| Service::start(&arguments, &path, region));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..turns.unwrap_or(TURNS) {
        let mut order = [0, 1, 2];
        for i in (1..order.len()).rev() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            order.swap(i, (state >> 33) as usize % (i + 1));
        }
        for i in order {
            let before = services[i].cpu();
            services[i].ask(&path, REQUESTS);
            let taken = services[i].cpu() - before;
            services[i].taken.push(taken / REQUESTS as f64);
        }
    }
    let median = |mut of: Vec<f64>| {
        of.sort_by(f64::total_cmp);
        of[of.len() / 2]
    };
    let ratio = |i: usize| {
        let pairs = services[i].taken.iter().zip(&services[0].taken);
        median(pairs.map(|(a, b)| a / b).collect())
    };
    println!(
        "{:.1} µs CPU per request; not published again x{:.3}; published and sampled x{:.3}",
        median(services[0].taken.clone()) / 1e3,
        ratio(1),
        ratio(2)
    );
    drop(services);
    let _ = fs::remove_dir_all(&region);
}
