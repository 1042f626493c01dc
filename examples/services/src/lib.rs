//! Services on real engines, each clean unless one of five leaks is switched on.

mod books;
#[cfg(feature = "data-store")]
mod data_store;
#[cfg(feature = "inference-engine")]
mod inference_engine;
#[cfg(feature = "mcp-gateway")]
mod mcp_gateway;
#[cfg(feature = "script-engine")]
mod script_engine;

pub use books::{Books, Leak};
#[cfg(feature = "data-store")]
pub use data_store::DataStore;
#[cfg(feature = "inference-engine")]
pub use inference_engine::InferenceEngine;
#[cfg(feature = "mcp-gateway")]
pub use mcp_gateway::McpGateway;
#[cfg(feature = "script-engine")]
pub use script_engine::ScriptEngine;

use plimsoll::memory_testing::ServiceError;

/// How a service is set up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    /// A mistake that it makes.
    pub leak: Option<Leak>,
    /// What stands behind it.
    pub engine: Engine,
}

/// What stands behind a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Engine {
    /// What the service is named for.
    #[default]
    Real,
    /// Nothing: operations do all that they do but ask it. What scenarios then say of the service is what is tested.
    Removed,
}

impl Engine {
    /// What the engine answers; without it, nothing.
    pub(crate) fn ask<T: Default>(
        self,
        call: impl FnOnce() -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        match self {
            Self::Real => call(),
            Self::Removed => Ok(T::default()),
        }
    }
}

/// The document's framework with the services of this crate known from the start.
pub mod memory_testing {
    pub use plimsoll::memory_testing::*;

    /// A runner that knows every service.
    #[derive(Debug)]
    pub struct MemoryTestRunner(plimsoll::memory_testing::MemoryTestRunner);

    impl MemoryTestRunner {
        /// All of them, as they should be.
        ///
        /// # Errors
        /// If the configuration is out of range.
        pub async fn new(config: MemoryTestConfig) -> Result<Self, MemoryTestError> {
            Self::with_setup(config, crate::Setup::default()).await
        }

        /// All of them, set up so.
        ///
        /// # Errors
        /// If the configuration is out of range.
        pub async fn with_setup(
            config: MemoryTestConfig,
            setup: crate::Setup,
        ) -> Result<Self, MemoryTestError> {
            let runner = plimsoll::memory_testing::MemoryTestRunner::new(config).await?;
            #[cfg(feature = "script-engine")]
            let runner = runner.with_service(crate::ScriptEngine::new(setup));
            #[cfg(feature = "inference-engine")]
            let runner = runner.with_service(crate::InferenceEngine::new(setup));
            #[cfg(feature = "data-store")]
            let runner = runner.with_service(crate::DataStore::new(setup));
            #[cfg(feature = "mcp-gateway")]
            let runner = runner.with_service(crate::McpGateway::new(setup));
            Ok(Self(runner))
        }
    }

    impl std::ops::Deref for MemoryTestRunner {
        type Target = plimsoll::memory_testing::MemoryTestRunner;

        fn deref(&self) -> &Self::Target {
            &self.0
        }
    }
}

/// Refuses what there is no memory for, before anything of it is done.
pub(crate) fn admit(bytes: usize) -> Result<(), ServiceError> {
    let mut room = Vec::<u8>::new();
    room.try_reserve_exact(bytes)
        .map_err(|_| format!("refused: {bytes} bytes of memory cannot be had").into())
}

/// A number that looks like chance, the same each time.
pub(crate) fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
