//! Scenarios on a service in a process of its own: this program once more, which serves where it is told a port.

#![expect(clippy::unwrap_used, reason = "what is missing fails the test")]

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use plimsoll::Scoped;
use plimsoll::memory_testing::*;

#[global_allocator]
static ALLOCATOR: Scoped = Scoped::new();

const ADDRESS: &str = "PLIMSOLL_TEST_ADDRESS";
const FAULT: &str = "PLIMSOLL_TEST_FAULT";

static NOTES: Mutex<BTreeMap<u64, Vec<u8>>> = Mutex::new(BTreeMap::new());

/// The service. A request is a line: a number, how many bytes follow; so is the answer.
#[test]
fn serve() {
    let Ok(address) = std::env::var(ADDRESS) else {
        return;
    };
    let fault = std::env::var(FAULT).unwrap();
    let listener = TcpListener::bind(address.parse::<SocketAddr>().unwrap()).unwrap();
    for stream in listener.incoming() {
        let fault = fault.clone();
        std::thread::spawn(move || answer(&stream.unwrap(), &fault));
    }
}

fn answer(stream: &TcpStream, fault: &str) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 0 {
        let (number, bytes) = line.trim().split_once(' ')?;
        let (number, bytes): (u64, usize) = (number.parse().ok()?, bytes.parse().ok()?);
        let mut body = Vec::new();
        let has_room = body.try_reserve_exact(bytes).is_ok();
        if fault == "careless" {
            body.reserve_exact(bytes);
        }
        let said = if has_room {
            body.resize(bytes, 0);
            reader.read_exact(&mut body).ok()?;
            let key = if fault == "leak" { number } else { number % 50 };
            let kept = note(&body[..bytes.min(300)]);
            NOTES.lock().ok()?.insert(key, kept);
            bytes
        } else {
            std::io::copy(&mut (&mut reader).take(bytes as u64), &mut std::io::sink()).ok()?;
            0
        };
        // In one piece: the second of two would wait for the first to be acknowledged.
        (&*stream).write_all(format!("{said}\n").as_bytes()).ok()?;
        line.clear();
    }
    Some(())
}

#[inline(never)]
fn note(body: &[u8]) -> Vec<u8> {
    body.to_vec()
}

struct Notes(&'static str);

struct Running {
    process: ServiceProcess,
    stream: Mutex<BufReader<TcpStream>>,
}

impl Running {
    fn ask(&self, number: u64, body: &[u8]) -> Result<u64, ServiceError> {
        let mut stream = self.stream.lock().unwrap();
        let request = [format!("{number} {}\n", body.len()).as_bytes(), body].concat();
        stream.get_mut().write_all(&request)?;
        let mut line = String::new();
        stream.read_line(&mut line)?;
        match line.trim().parse()? {
            0 => Err("refused: there is no memory for it".into()),
            bytes => Ok(bytes),
        }
    }
}

impl Service for Notes {
    type Running = Running;

    fn service_type(&self) -> ServiceType {
        ServiceType::Custom("notes".to_owned())
    }

    fn operations(&self) -> Vec<&'static str> {
        vec!["write"]
    }

    async fn start(&self) -> Result<Running, ServiceError> {
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = ServiceProcess::spawn(
            Command::new(std::env::current_exe()?)
                .args(["--exact", "serve"])
                .env(ADDRESS, address.to_string())
                .env(FAULT, self.0)
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )?;
        let deadline = Instant::now() + Duration::from_secs(20);
        let stream = loop {
            match TcpStream::connect(address) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        };
        stream.set_nodelay(true)?;
        Ok(Running {
            process,
            stream: Mutex::new(BufReader::new(stream)),
        })
    }

    fn process_of<'a>(&self, running: &'a Running) -> Option<&'a ServiceProcess> {
        Some(&running.process)
    }

    async fn operate(&self, running: &Running, asked: &Operation) -> Result<u64, ServiceError> {
        running.ask(asked.number, &[1; 300])
    }

    async fn process(&self, running: &Running, payload: &Payload) -> Result<u64, ServiceError> {
        running.ask(payload.number, payload.text.as_bytes())
    }
}

fn quick() -> MemoryTestConfig {
    MemoryTestConfig {
        test_durations: TestDurations {
            short_test_seconds: 8,
            medium_test_seconds: 8,
            long_test_seconds: 8,
            measurement_interval_ms: 5,
        },
        thresholds: MemoryThresholds {
            leak_threshold_bytes: 256 * 1024,
            cleanup_timeout_seconds: 5,
            ..MemoryThresholds::default()
        },
        load_testing: LoadTestingConfig {
            concurrent_operations: 4,
            operations_per_second: 500,
            large_data_size_bytes: 16 * 1024 * 1024,
            max_payload_size_bytes: 256 * 1024,
        },
        leak_detection: LeakDetectionConfig {
            sampling_interval_ms: 50,
            // At the document's 95 % one of twenty healthy runs may be called a leak.
            significance_threshold: 0.999,
            ..LeakDetectionConfig::default()
        },
    }
}

fn run(fault: &'static str, scenario: TestScenario) -> MemoryTestResult {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let runner = MemoryTestRunner::new(quick()).await.unwrap();
        let runner = runner.with_service(Notes(fault));
        let service = ServiceType::Custom("notes".to_owned());
        // As many on a busy machine as on one that is not.
        let data = match scenario {
            TestScenario::SingleOperation => HashMap::from([("iterations".to_owned(), 400.into())]),
            _ => HashMap::new(),
        };
        let result = runner.run_test_scenario(service, scenario, data);
        result.await.unwrap()
    })
}

#[test]
fn a_clean_service_is_judged_by_the_live_bytes_of_its_own_process() {
    // What the tests' own process has is not the service's.
    let ballast = std::hint::black_box(vec![1_u8; 32 << 20]);
    let result = run("none", TestScenario::SingleOperation);
    assert_eq!(result.status, TestStatus::Completed, "{:?}", result.errors);
    assert!(result.violations.is_empty(), "{:?}", result.violations);
    assert_eq!(result.metric, "live_bytes");
    assert!(!result.leak_detection.leak_detected);
    let heap = result.profile.heap_bytes.unwrap();
    assert!((1_000..8 << 20).contains(&heap), "{heap}");
    assert!(result.operations[0].allocated_bytes >= 600.0);
    drop(ballast);
}

#[test]
fn what_it_keeps_is_found_with_the_line_that_allocates_it() {
    let result = run("leak", TestScenario::SingleOperation);
    assert!(result.leak_detection.leak_detected, "{:?}", result.verdict);
    let sources = result.leak_detection.suspected_sources.join("\n");
    assert!(sources.contains("tests/apart.rs:"), "{result:#?}");
}

#[test]
fn its_memory_is_limited_and_not_that_of_the_tests() {
    let result = run("none", TestScenario::ResourceExhaustion);
    let exhaustion = result.exhaustion.unwrap();
    assert!(exhaustion.refused.is_some(), "{exhaustion:?}");
    assert!(exhaustion.recovered, "{exhaustion:?}");
    assert_eq!(exhaustion.died, None);
}

#[test]
fn its_death_of_exhaustion_is_told() {
    let result = run("careless", TestScenario::ResourceExhaustion);
    let exhaustion = result.exhaustion.unwrap();
    let died = exhaustion.died.unwrap();
    assert!(died.contains("on a payload of"), "{died}");
    let is_it = |v: &ThresholdViolation| v.violation_type == ViolationType::ResourceExhaustion;
    assert!(
        result.violations.iter().any(is_it),
        "{:?}",
        result.violations
    );
}

#[test]
fn its_end_gives_everything_back() {
    let cleanup = run("none", TestScenario::CleanupValidation)
        .cleanup
        .unwrap();
    assert_eq!(cleanup.after_stop_bytes, 0);
    assert!(cleanup.seconds.is_some() && cleanup.stop_seconds.is_some());
}
