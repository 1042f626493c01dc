//! Who runs scenarios.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::Mutex;

use super::config::MemoryTestConfig;
use super::data::TestData;
use super::error::MemoryTestError;
use super::exhaustion::{self, Journal};
use super::results::{MemoryTestResult, SCHEMA, TestScenario};
use super::scenario::{self, Order};
use super::service::{Known, Registered, Service, ServiceType};

/// An operation may take so long unless said.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The memory of a process is one: scenarios take turns, also those of tests that run in parallel.
static TURN: Mutex<()> = Mutex::const_new(());

/// Runs scenarios of services.
pub struct MemoryTestRunner {
    config: MemoryTestConfig,
    services: Vec<Box<dyn Known>>,
    operation_timeout: Duration,
}

impl std::fmt::Debug for MemoryTestRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let services: Vec<_> = self.services.iter().map(|s| s.service_type()).collect();
        f.debug_struct("MemoryTestRunner")
            .field("config", &self.config)
            .field("services", &services)
            .field("operation_timeout", &self.operation_timeout)
            .finish()
    }
}

impl MemoryTestRunner {
    /// A runner that knows no service yet.
    ///
    /// # Errors
    /// If a value of the configuration is out of its range.
    #[expect(
        clippy::unused_async,
        reason = "as the framework's interface has it, and a runner may one day have to wait"
    )]
    pub async fn new(config: MemoryTestConfig) -> Result<Self, MemoryTestError> {
        config.validate()?;
        Ok(Self {
            config,
            services: Vec::new(),
            operation_timeout: OPERATION_TIMEOUT,
        })
    }

    /// Makes a service known. One of the same type that was known before is replaced.
    #[must_use]
    pub fn with_service<S: Service>(mut self, service: S) -> Self {
        let service_type = service.service_type();
        self.services
            .retain(|known| known.service_type() != service_type);
        self.services.push(Box::new(Registered(Arc::new(service))));
        self
    }

    /// An operation that takes longer than this has failed, and after three of them a scenario ends; 30 s unless said.
    /// (On a runtime with one thread nobody can tell of an operation that never yields.)
    #[must_use]
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = timeout;
        self
    }

    /// What is tested, how long and against which limits.
    pub fn config(&self) -> &MemoryTestConfig {
        &self.config
    }

    /// All eight scenarios of every service, in the order in which they were made known. A scenario that could not be run is a
    /// result that says so.
    ///
    /// # Errors
    /// If there is no service.
    pub async fn run_comprehensive_tests(&self) -> Result<Vec<MemoryTestResult>, MemoryTestError> {
        if self.services.is_empty() {
            return Err(MemoryTestError::NoService { wanted: None });
        }
        self.serve_as_child().await?;
        let mut results = Vec::new();
        for known in &self.services {
            for scenario in TestScenario::ALL {
                let order = self.order(&**known, scenario, TestData::default());
                results.push(match turn(&order).await {
                    Ok(result) => result,
                    Err(error) => MemoryTestResult::failed(
                        known.service_type(),
                        scenario,
                        order.planned(),
                        error.to_string(),
                    ),
                });
            }
        }
        Ok(results)
    }

    /// One scenario of one service. `test_data` may have `payload_size_mb`, the size of a payload in MiB, and `iterations`, how
    /// many operations are measured.
    ///
    /// # Errors
    /// If the service is not known or does not start, or the data is not understood. What happens afterwards is in the result.
    pub async fn run_test_scenario(
        &self,
        service_type: ServiceType,
        scenario: TestScenario,
        test_data: HashMap<String, Value>,
    ) -> Result<MemoryTestResult, MemoryTestError> {
        let data = TestData::parse(&test_data)?;
        let known = self.known(&service_type)?;
        self.serve_as_child().await?;
        turn(&self.order(known, scenario, data)).await
    }

    /// Writes results as one JSON document, whole or not at all.
    ///
    /// # Errors
    /// If the file cannot be written.
    #[expect(
        clippy::unused_async,
        reason = "as the framework's interface has it; a few kilobytes are written at once"
    )]
    pub async fn export_results(
        &self,
        results: &[MemoryTestResult],
        path: impl AsRef<Path>,
    ) -> Result<(), MemoryTestError> {
        #[derive(Serialize)]
        struct Document<'a> {
            schema: &'static str,
            tool_version: &'static str,
            config: &'a MemoryTestConfig,
            results: &'a [MemoryTestResult],
        }
        let document = Document {
            schema: SCHEMA,
            tool_version: env!("CARGO_PKG_VERSION"),
            config: &self.config,
            results,
        };
        write_whole(path.as_ref(), &document)
    }

    /// Keeps each result as a run: below `.plimsoll`, `plimsoll history` and `plimsoll report` know it.
    ///
    /// # Errors
    /// If the folder cannot be written.
    #[expect(clippy::unused_async, reason = "as export_results")]
    pub async fn record_runs(
        &self,
        results: &[MemoryTestResult],
        folder: impl AsRef<Path>,
    ) -> Result<(), MemoryTestError> {
        for result in results {
            let run = result.to_run();
            let folder = folder.as_ref().join("runs").join(&run.id);
            std::fs::create_dir_all(&folder).map_err(|source| MemoryTestError::Unwritable {
                path: folder.clone(),
                source,
            })?;
            write_whole(&folder.join("run.json"), &run)?;
        }
        Ok(())
    }

    fn known(&self, service_type: &ServiceType) -> Result<&dyn Known, MemoryTestError> {
        let known = self
            .services
            .iter()
            .find(|known| known.service_type() == *service_type);
        known
            .map(|known| &**known)
            .ok_or_else(|| MemoryTestError::NoService {
                wanted: Some(service_type.to_string()),
            })
    }

    fn order<'a>(
        &'a self,
        known: &'a dyn Known,
        scenario: TestScenario,
        data: TestData,
    ) -> Order<'a> {
        Order {
            known,
            scenario,
            config: &self.config,
            data,
            operation_timeout: self.operation_timeout,
            journal: None,
        }
    }

    /// In a process that was started for one service's exhaustion alone, does that and ends: whatever else the program does,
    /// its parent does.
    async fn serve_as_child(&self) -> Result<(), MemoryTestError> {
        let Some(job) = exhaustion::job() else {
            return Ok(());
        };
        let known = self.known(&job.service)?;
        let data = TestData {
            iterations: job.iterations,
            ..TestData::default()
        };
        let journal = Journal::of(&job);
        let order = Order {
            journal: Some(Journal::of(&job)),
            ..self.order(known, TestScenario::ResourceExhaustion, data)
        };
        journal.finish(scenario::run(&order).await);
        std::process::exit(0);
    }
}

/// Runs a scenario when it is its turn.
async fn turn(order: &Order<'_>) -> Result<MemoryTestResult, MemoryTestError> {
    let _turn = TURN.lock().await;
    if order.known.operations().is_empty() {
        return Err(MemoryTestError::NoOperations {
            service: order.known.service_type().to_string(),
        });
    }
    match order.scenario {
        TestScenario::ResourceExhaustion => exhaustion::in_child(order).await,
        _ => scenario::run(order).await,
    }
}

/// Writes a document beside its place and puts it there when it is whole.
fn write_whole(path: &Path, document: &impl Serialize) -> Result<(), MemoryTestError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let text = serde_json::to_vec_pretty(document).map_err(std::io::Error::from);
    let written = text
        .and_then(|text| std::fs::write(&beside, text))
        .and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|source| {
        let _ = std::fs::remove_file(&beside);
        MemoryTestError::Unwritable {
            path: path.to_owned(),
            source,
        }
    })
}
