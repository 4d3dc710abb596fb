//! What is between the nodes: a port in front of each, that lets nothing through from those who are cut off from it.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use hyperbytedb_domain::cluster::NodeId;
use parking_lot::Mutex;

use crate::access::NODE_HEADER;

#[derive(Default)]
pub struct Links {
    /// Where each node listens.
    targets: Mutex<HashMap<NodeId, SocketAddr>>,
    /// From whom nothing comes to whom.
    cut: Mutex<HashSet<(NodeId, NodeId)>>,
}

impl Links {
    /// The address by which the others reach a node.
    pub fn listen(self: &Arc<Self>, node: NodeId) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let links = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let links = links.clone();
                // What breaks is a connection, which the nodes bear.
                std::thread::spawn(move || drop(links.serve(node, stream)));
            }
        });
        address
    }

    pub fn lead_to(&self, node: NodeId, target: SocketAddr) {
        self.targets.lock().insert(node, target);
    }

    pub fn isolate(&self, node: NodeId, others: impl Iterator<Item = NodeId>) {
        self.cut.lock().extend(others.flat_map(|other| [(node, other), (other, node)]));
    }

    pub fn heal(&self) {
        self.cut.lock().clear();
    }

    fn serve(&self, node: NodeId, mut stream: TcpStream) -> io::Result<()> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&head).to_lowercase();
        let sender = text.lines().find_map(|line| line.strip_prefix(NODE_HEADER)?.strip_prefix(": "));
        let link = (sender.and_then(|sender| sender.parse().ok()).unwrap_or(0), node);
        let target = self.targets.lock().get(&node).copied();
        let mut target = TcpStream::connect(target.ok_or(io::ErrorKind::NotConnected)?)?;
        if self.cut.lock().contains(&link) {
            return Ok(());
        }
        target.write_all(&head)?;
        std::thread::scope(|scope| {
            scope.spawn(|| self.pass_on(link, &stream, &target));
            self.pass_on(link, &target, &stream);
        });
        Ok(())
    }

    fn pass_on(&self, link: (NodeId, NodeId), mut from: &TcpStream, mut to: &TcpStream) {
        let mut piece = [0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut piece) {
            if self.cut.lock().contains(&link) || to.write_all(&piece[..read]).is_err() {
                break;
            }
        }
        for stream in [from, to] {
            // The other direction may have ended it.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
