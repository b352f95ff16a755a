//! The controls: bytes go back as they come, without a frame being looked at. What these reach is
//! what the kernel, and tokio, leave to a protocol.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::{Ended, announce};

/// How much is read at a time.
const BUFFER: usize = 64 << 10;

thread_local! {
    /// One for all connections, so that an idle one holds none.
    static SHARED: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// A tokio task a connection: one read, one write.
pub async fn tokio(mut stream: TcpStream) -> Ended {
    loop {
        let unwritten = poll_fn(|cx| {
            SHARED.with_borrow_mut(|buffer| {
                let mut read = ReadBuf::new(buffer);
                ready!(Pin::new(&mut stream).poll_read(cx, &mut read))?;
                let bytes = read.filled();
                if bytes.is_empty() {
                    return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
                }
                let written = match stream.try_write(bytes) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                    written => written?,
                };
                Poll::Ready(Ok::<_, std::io::Error>(bytes[written..].to_vec()))
            })
        });
        let unwritten = unwritten.await?;
        stream.write_all(&unwritten).await?;
    }
}

/// The same without a runtime. It blocks where a client doesn't read, so it is for clients that do.
pub fn epoll(listener: TcpListener) {
    announce(&listener.local_addr().expect("a bound socket"));
    let poll = unsafe { libc::epoll_create1(0) };
    let watch = |fd: i32| {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: fd as u64,
        };
        let added = unsafe { libc::epoll_ctl(poll, libc::EPOLL_CTL_ADD, fd, &mut event) };
        assert_eq!(added, 0, "epoll_ctl");
    };
    watch(listener.as_raw_fd());
    let mut streams = std::collections::HashMap::new();
    let mut buffer = vec![0; BUFFER];
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 1024];
    loop {
        let count = unsafe { libc::epoll_wait(poll, events.as_mut_ptr(), 1024, -1) };
        for event in &events[..count.max(0) as usize] {
            let fd = event.u64 as i32;
            let Some(stream) = streams.get_mut(&fd) else {
                let (stream, _) = listener.accept().expect("files are left");
                stream.set_nodelay(true).expect("a socket");
                watch(stream.as_raw_fd());
                streams.insert(stream.as_raw_fd(), stream);
                continue;
            };
            let read = stream.read(&mut buffer).unwrap_or(0);
            if read == 0 || stream.write_all(&buffer[..read]).is_err() {
                streams.remove(&fd);
            }
        }
    }
}
