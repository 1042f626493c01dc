//! Who listens on a port: the kernel's tables of TCP sockets, and the processes that hold one open.
//!
//! The tables are those of the calling thread's network namespace; for a subject in another one, see [`crate::Network`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use plimsoll_model::{ProcessId, ProcessInfo, Role};

use crate::process::Process;
use crate::procfs::parse_integer;
use crate::tree;

/// A listening TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its inode: descriptors open on it read `socket:[INODE]`.
    pub inode: u64,
}

/// Every socket that listens on `port`, IPv4 and IPv6.
///
/// # Errors
/// If the kernel's table cannot be read. A kernel without IPv6 has no second table; that is no error.
pub fn listeners(port: u16) -> io::Result<Vec<Listener>> {
    let mut found = all_listeners()?;
    found.retain(|listener| listener.address.port() == port);
    Ok(found)
}

/// Every listening socket, IPv4 and IPv6.
pub(crate) fn all_listeners() -> io::Result<Vec<Listener>> {
    let mut found = Vec::new();
    read_table(File::open("/proc/thread-self/net/tcp")?, &mut found)?;
    match File::open("/proc/thread-self/net/tcp6") {
        Ok(table) => read_table(table, &mut found)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

fn read_table(table: impl io::Read, found: &mut Vec<Listener>) -> io::Result<()> {
    let mut table = BufReader::with_capacity(32 * 1024, table);
    let mut line = Vec::with_capacity(256);
    loop {
        line.clear();
        if table.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        found.extend(parse_listener(&line));
    }
}

/// A line of the table, if it is of a listening socket.
fn parse_listener(line: &[u8]) -> Option<Listener> {
    const LISTEN: &str = "0A";
    let mut fields = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    if state != LISTEN {
        return None;
    }
    let inode = parse_integer(fields.nth(5)?.as_bytes())?;
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Listener {
        address: SocketAddr::new(parse_ip(ip)?, port),
        inode,
    })
}

/// The kernel prints each 32-bit word of an address, which lies in memory in network order, as a native number.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let word = |i: usize| {
        let digits = hex.get(8 * i..8 * i + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut octets = [0; 16];
            for i in 0..4 {
                octets[4 * i..4 * i + 4].copy_from_slice(&word(i)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(octets)))
        }
        _ => None,
    }
}

/// Which of the processes `among` hold a socket open that listens on `port`. A socket is often held by several: a server
/// that forks leaves it to every worker.
///
/// # Errors
/// As [`listeners`].
pub fn listener_owners(port: u16, among: &[Process]) -> io::Result<Vec<Process>> {
    let inodes = listening_inodes(port)?;
    Ok(among
        .iter()
        .filter(|process| !inodes.is_empty() && holds_socket(process, &inodes))
        .cloned()
        .collect())
}

/// The ports that the processes `among` listen on. Best effort: what cannot be looked into is missing.
pub fn listening_ports(among: &[Process]) -> BTreeSet<u16> {
    let held: BTreeSet<u64> = among.iter().flat_map(sockets_of).collect();
    let all = all_listeners().unwrap_or_default();
    all.into_iter()
        .filter(|listener| held.contains(&listener.inode))
        .map(|listener| listener.address.port())
        .collect()
}

/// Which of the processes `among` holds the server's end of each connection to `port`, by the client's port. Best effort: what
/// cannot be looked into is missing.
pub fn connection_holders(port: u16, among: &[Process]) -> BTreeMap<u16, ProcessId> {
    let mut inodes = BTreeMap::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let lines = File::open(table).map(BufReader::new).map(BufRead::lines);
        for line in lines.into_iter().flatten().map_while(Result::ok) {
            if let Some((client, inode)) = parse_connection(&line, port) {
                inodes.insert(inode, client);
            }
        }
    }
    let mut holders = BTreeMap::new();
    for process in among {
        for inode in sockets_of(process) {
            if let Some(client) = inodes.get(&inode) {
                holders.insert(*client, process.id());
            }
        }
    }
    holders
}

/// The client's port and the inode of a line of the table, if it is the server's end of an established connection to
/// `port`.
fn parse_connection(line: &str, port: u16) -> Option<(u16, u64)> {
    const ESTABLISHED: &str = "01";
    let mut fields = line.split_ascii_whitespace();
    let mut port_of = || u16::from_str_radix(fields.next()?.split_once(':')?.1, 16).ok();
    // The number of the entry stands in front, with a colon of its own.
    let _ = port_of();
    let (local, client) = (port_of()?, port_of()?);
    if local != port || fields.next()? != ESTABLISHED {
        return None;
    }
    Some((client, parse_integer(fields.nth(5)?.as_bytes())?))
}

/// Who listens on `port` now, to be named in an error. Best effort: other people's processes cannot be looked into, and
/// of several the first one that holds it is told.
pub fn port_holder(port: u16) -> Option<ProcessInfo> {
    let inodes = listening_inodes(port).ok().filter(|i| !i.is_empty())?;
    let mut processes = tree::scan();
    processes.sort_by_key(|seen| seen.start_ticks);
    processes
        .iter()
        .filter_map(|seen| Process::open(seen.pid).ok())
        .find(|process| holds_socket(process, &inodes))
        .map(|process| process.info(Role::Other))
}

fn listening_inodes(port: u16) -> io::Result<BTreeSet<u64>> {
    Ok(listeners(port)?
        .iter()
        .map(|listener| listener.inode)
        .collect())
}

fn holds_socket(process: &Process, inodes: &BTreeSet<u64>) -> bool {
    !sockets_of(process).is_disjoint(inodes)
}

/// The inodes of all sockets a process holds open; none where that is not readable.
pub(crate) fn sockets_of(process: &Process) -> BTreeSet<u64> {
    let mut inodes = BTreeSet::new();
    let _ = process.each_descriptor(|target| {
        inodes.extend(
            target
                .strip_prefix(b"socket:[")
                .and_then(|rest| rest.strip_suffix(b"]"))
                .and_then(parse_integer),
        );
    });
    inodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn ports_that_a_process_listens_on_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = [Process::open(std::process::id()).unwrap()];
        assert!(listening_ports(&own).contains(&port));
        drop(listener);
        assert!(!listening_ports(&own).contains(&port));
    }

    #[test]
    fn lines_of_the_tables_are_read() {
        let v4 = b"   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 81233 1 0 100 0 0 10 0\n";
        let v6 = b"   0: 00000000000000000000000001000000:0BB8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0 100 0 0 10 0\n";
        if cfg!(target_endian = "little") {
            assert_eq!(
                parse_listener(v4),
                Some(Listener {
                    address: "127.0.0.1:8080".parse().unwrap(),
                    inode: 81_233,
                })
            );
            assert_eq!(
                parse_listener(v6),
                Some(Listener {
                    address: "[::1]:3000".parse().unwrap(),
                    inode: 99,
                })
            );
        }
        let established = String::from_utf8_lossy(v4).replace(" 0A ", " 01 ");
        assert_eq!(parse_listener(established.as_bytes()), None);
        assert_eq!(parse_listener(b"  sl  local_address rem_address st"), None);
    }

    #[test]
    fn a_socket_of_ours_is_found_with_its_owner_until_it_is_closed() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = TcpListener::bind(address) else {
                assert!(address.starts_with('['), "IPv4 loopback must be there");
                continue;
            };
            let local = socket.local_addr().unwrap();
            let found = listeners(local.port()).unwrap();
            assert!(
                found.iter().any(|listener| listener.address == local),
                "{found:?}"
            );
            let own = Process::open(std::process::id()).unwrap();
            let owners = listener_owners(local.port(), std::slice::from_ref(&own)).unwrap();
            assert_eq!(owners.len(), 1);
            assert_eq!(port_holder(local.port()).unwrap().id, own.id());
            drop(socket);
            assert!(
                !listeners(local.port())
                    .unwrap()
                    .iter()
                    .any(|listener| listener.address == local)
            );
        }
    }
}
