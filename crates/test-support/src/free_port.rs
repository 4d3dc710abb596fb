//! Ports for the servers of tests.
//!
//! A port that is only looked up and closed again may be given to somebody else before its server listens, or while that
//! server is down: requests for one test's server then reach another's. These stay reserved while the test's process lives.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use rustix::io::Result;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

static RESERVED: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

/// A port of 127.0.0.1 that nobody gets by chance before this process ends. Whoever asks for it by its number with
/// `SO_REUSEADDR`, as servers do, can listen on it.
pub fn free_port() -> u16 {
    let (socket, port) = reserve().expect("a free port");
    RESERVED.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
    port
}

/// Bound and never listening: it lets others that name the port bind it too.
fn reserve() -> Result<(OwnedFd, u16)> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    Ok((socket, address.port()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn ports_are_given_once_and_can_be_listened_on_again_and_again() {
        let ports: Vec<u16> = (0..100).map(|_| free_port()).collect();
        let reserved: HashSet<u16> = ports.iter().copied().collect();
        assert_eq!(reserved.len(), ports.len());
        for _ in 0..2 {
            let listeners: Vec<TcpListener> = ports
                .iter()
                .map(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port"))
                .collect();
            drop(listeners);
        }
        let others: Vec<TcpListener> =
            (0..500).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("another port")).collect();
        let is_reserved = |listener: &TcpListener| {
            listener.local_addr().is_ok_and(|address| reserved.contains(&address.port()))
        };
        assert!(!others.iter().any(is_reserved));
    }
}
