//! Services on real engines, each clean unless one of five leaks is switched on.

mod books;
#[cfg(feature = "data-store")]
mod data_store;
#[cfg(feature = "mcp-gateway")]
mod mcp_gateway;
#[cfg(feature = "script-engine")]
mod script_engine;

pub use books::{Books, Leak};
#[cfg(feature = "data-store")]
pub use data_store::DataStore;
#[cfg(feature = "mcp-gateway")]
pub use mcp_gateway::McpGateway;
#[cfg(feature = "script-engine")]
pub use script_engine::ScriptEngine;

use plimsoll::memory_testing::ServiceError;

/// The document's framework with the services of this crate known from the start.
pub mod memory_testing {
    pub use plimsoll::memory_testing::*;

    /// A runner that knows every service.
    #[derive(Debug)]
    pub struct MemoryTestRunner(plimsoll::memory_testing::MemoryTestRunner);

    impl MemoryTestRunner {
        /// All of them, without a leak.
        ///
        /// # Errors
        /// If the configuration is out of range.
        pub async fn new(config: MemoryTestConfig) -> Result<Self, MemoryTestError> {
            Self::with_leak(config, None).await
        }

        /// All of them, with a leak if one is named.
        ///
        /// # Errors
        /// If the configuration is out of range.
        pub async fn with_leak(
            config: MemoryTestConfig,
            leak: Option<crate::Leak>,
        ) -> Result<Self, MemoryTestError> {
            let runner = plimsoll::memory_testing::MemoryTestRunner::new(config).await?;
            #[cfg(feature = "script-engine")]
            let runner = runner.with_service(crate::ScriptEngine::new(leak));
            #[cfg(feature = "data-store")]
            let runner = runner.with_service(crate::DataStore::new(leak));
            #[cfg(feature = "mcp-gateway")]
            let runner = runner.with_service(crate::McpGateway::new(leak));
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
