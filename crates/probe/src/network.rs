//! Into the network of a process that has its own: where its inspector and its ports are.

use std::marker::PhantomData;
use std::os::fd::{AsFd as _, OwnedFd};

use crate::os;
use crate::process::Process;
use crate::{Error, NotAttached};

/// The network namespace of a process, for the calling thread and those that it starts, until this is dropped.
#[derive(Debug)]
pub struct Network {
    own: OwnedFd,
    /// It is the thread's: dropped elsewhere, it would change another.
    thread: PhantomData<*const ()>,
}

impl Network {
    /// Enters. `None` if this thread is there already.
    ///
    /// # Errors
    /// [`NotAttached::OtherNamespace`] without `CAP_SYS_ADMIN`.
    pub fn of(process: &Process) -> Result<Option<Self>, NotAttached> {
        if process.other_namespace(&["net"]).is_none() {
            return Ok(None);
        }
        let failed = |error| NotAttached::Failed(Error::io("open a network namespace", error));
        let own = os::own_network().map_err(failed)?;
        let refused = NotAttached::OtherNamespace {
            name: "network",
            needs: "CAP_SYS_ADMIN",
        };
        let Some(theirs) = process.open_file(c"ns/net") else {
            return Err(refused);
        };
        if os::enter_network(theirs.as_fd()).is_err() {
            return Err(refused);
        }
        Ok(Some(Self {
            own,
            thread: PhantomData,
        }))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Whoever was let in is let back: it is our own.
        let _ = os::enter_network(self.own.as_fd());
    }
}
