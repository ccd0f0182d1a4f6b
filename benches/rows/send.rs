//! A warm log to a loopback socket, from end to end.

use std::{
    fs,
    io::Read,
    net::{TcpListener, TcpStream},
    path::Path,
    rc::Rc,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use trunkline::log::Isolation;

use super::scan::{FETCH_BYTES, scanned};
use crate::pairs::{Group, timed};

/// The group's name.
pub const NAME: &str = "send to a loopback socket, 1024 B x 16";

/// A connection whose other end tells when it has received what a slice sends.
fn connection(expected: usize) -> (TcpStream, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    let (far, _) = listener.accept().expect("accepts");
    let (tell, told) = channel();
    thread::spawn(move || receive(far, expected, &tell));
    (near, told)
}

fn receive(mut from: TcpStream, expected: usize, tell: &Sender<()>) {
    let mut buffer = vec![0; 256 << 10];
    let mut received = 0;
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        received += count;
        if received >= expected {
            received -= expected;
            let _ = tell.send(());
        }
    }
}

/// `sendfile` from a plain file, and the engine.
pub fn group(folder: &Path) -> Group<'static> {
    let (log, path, work) = scanned(&folder.join("send"));
    let file = fs::File::open(&path).expect("opens");
    let total = work.bytes as usize;
    // The whole batches that a fetch of this size gives.
    let batch = total / work.units as usize;
    let step = FETCH_BYTES / batch * batch;
    let mut group = Group::new(NAME, work);
    // One for both: two differ by more than the rows do.
    let connection = Rc::new(connection(total));
    let shared = connection.clone();
    group.row("limit: sendfile", move || {
        let (socket, received) = &*shared;
        timed(|| {
            let mut at = 0;
            while at < total as u64 {
                let count = step.min(total - at as usize);
                rustix::fs::sendfile(socket, &file, Some(&mut at), count).expect("sends");
            }
            received.recv().expect("all arrives");
        })
    });
    group.row("trunkline", move || {
        let (socket, received) = &*connection;
        timed(|| {
            let (mut offset, mut sent) = (0, 0);
            while sent < total as u64 {
                let range = log.fetch_range(offset, FETCH_BYTES as u64, Isolation::LogEnd);
                let range = range.expect("finds");
                let mut at = 0;
                while at < range.len() {
                    at += range.send(at, socket).expect("sends") as u64;
                }
                (offset, sent) = (range.next_offset(), sent + range.len());
            }
            received.recv().expect("all arrives");
        })
    });
    group
}
