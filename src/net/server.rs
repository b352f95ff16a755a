//! The server's end of the opening handshake over a stream (§4.2).
//!
//! Its futures lie on the heap: in the task of the connection each would keep its place for as long
//! as the connection lives.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::error::Error;
use super::input::poll_read;
use super::websocket::WebSocket;
use crate::agreed::Agreed;
use crate::buffer::Buffer;
use crate::handshake::scan::Head;
use crate::handshake::{HandshakeError, RequestHead, Upgrade, encode_accepted, encode_response};
use crate::log::debug;
use crate::protocol::{Config, Role};

/// Accepts a WebSocket on a stream, with the default [`Upgrade`] and [`Config`].
///
/// A request that is none for a WebSocket is answered with its status. To look at the request
/// first, choose a subprotocol or change a limit, use [`Incoming`].
///
/// # Errors
///
/// [`Error::Handshake`] for a request that is none or that did not come in time, after it was
/// answered; [`Error::Io`].
///
/// # Cancel safety
///
/// A dropped call drops the stream.
///
/// # Examples
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let (stream, _) = listener.accept().await?;
/// let mut socket = wsroom::accept(stream).await?;
/// socket.send("welcome").await?;
/// # Ok(()) }
/// ```
pub fn accept<S>(stream: S) -> impl Future<Output = Result<WebSocket<S>, Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Box::pin(async move { accept_unseen(stream, &Upgrade::default(), Config::default()).await })
}

/// Accepts a WebSocket on a stream, as `upgrade` allows it.
///
/// # Errors
///
/// As [`accept`].
///
/// # Cancel safety
///
/// A dropped call drops the stream.
///
/// # Examples
///
/// ```
/// use wsroom::{Config, Upgrade};
///
/// # async fn example(stream: tokio::net::TcpStream) -> Result<(), wsroom::Error> {
/// let upgrade = Upgrade::default().protocols(["chat"]).same_origin();
/// let config = Config::default().max_message_size(64 << 10);
/// let mut socket = wsroom::net::accept_with(stream, &upgrade, config).await?;
/// assert!(socket.protocol().is_none_or(|protocol| protocol == "chat"));
/// # Ok(()) }
/// ```
pub fn accept_with<S>(
    stream: S,
    upgrade: &Upgrade,
    config: Config,
) -> impl Future<Output = Result<WebSocket<S>, Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Box::pin(accept_unseen(stream, upgrade, config))
}

/// Accepts a WebSocket whose request nobody looks at, and so without an [`Incoming`].
async fn accept_unseen<S>(
    mut stream: S,
    upgrade: &Upgrade,
    config: Config,
) -> Result<WebSocket<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let received = receive(&mut stream, upgrade, |head| upgrade.answer(head));
    let ((answer, agreed), unread) = received.await?;
    write(&mut stream, upgrade.time_limit(), &answer).await?;
    Ok(WebSocket::new(
        stream,
        Role::Server,
        agreed,
        config,
        &unread,
    ))
}

/// A request on a stream that was not answered yet.
///
/// Look at it, wait for whatever decides, then [`accept`](Self::accept) or
/// [`reject`](Self::reject). Dropping it closes the stream without an answer.
///
/// # Examples
///
/// ```
/// use http::{Response, StatusCode};
/// use tokio::net::TcpStream;
/// use wsroom::{Config, Error, Incoming, Upgrade, WebSocket};
///
/// async fn decide(stream: TcpStream) -> Result<Option<WebSocket<TcpStream>>, Error> {
///     let upgrade = Upgrade::default().protocols(["chat"]);
///     let incoming = Incoming::read(stream, &upgrade).await?;
///     let token = incoming.request().headers().get("authorization").cloned();
///     if !is_valid(token.as_ref()).await {
///         let mut response = Response::new("sign in first\n");
///         *response.status_mut() = StatusCode::FORBIDDEN;
///         incoming.reject(&response).await?;
///         return Ok(None);
///     }
///     incoming.accept(&upgrade, Config::default()).await.map(Some)
/// }
/// # async fn is_valid(token: Option<&http::HeaderValue>) -> bool { token.is_some() }
/// ```
#[derive(Debug)]
pub struct Incoming<S> {
    stream: S,
    request: Box<Request<()>>,
    /// What came behind the request: the first frames.
    unread: Vec<u8>,
    time: Duration,
}

/// How long a refused peer may take to read the refusal (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(1);

/// How much is read at a time.
const BUFFER_SIZE: usize = 4096;

impl<S: AsyncRead + AsyncWrite + Unpin> Incoming<S> {
    /// Reads a request, within the limits and the time that `upgrade` gives.
    ///
    /// Any HTTP/1 request will do; whether it asks for a WebSocket is for
    /// [`accept`](Self::accept) to find.
    ///
    /// # Errors
    ///
    /// [`Error::Handshake`] for bytes that are no request, after they were answered with their
    /// status; [`Error::ConnectionLost`] if the stream ended before anything came; [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// A dropped call drops the stream.
    pub fn read(stream: S, upgrade: &Upgrade) -> impl Future<Output = Result<Self, Error>> {
        Box::pin(Self::read_here(stream, upgrade))
    }

    async fn read_here(mut stream: S, upgrade: &Upgrade) -> Result<Self, Error> {
        let (request, unread) = receive(&mut stream, upgrade, Head::request).await?;
        Ok(Self {
            stream,
            request: Box::new(request),
            unread,
            time: upgrade.time_limit(),
        })
    }

    /// Answers with 101 and gives the socket, if the request asks for a WebSocket and `upgrade`
    /// allows it; otherwise answers with the status that fits.
    ///
    /// `upgrade` need not be the one that the request was read with: it may have the subprotocol
    /// or the headers that were decided on since.
    ///
    /// # Errors
    ///
    /// [`Error::Handshake`] if the request was refused, whether or not the peer took the answer;
    /// [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// A dropped call drops the stream.
    pub fn accept(
        self,
        upgrade: &Upgrade,
        config: Config,
    ) -> impl Future<Output = Result<WebSocket<S>, Error>> {
        Box::pin(self.accept_here(upgrade, config))
    }

    pub(super) async fn accept_here(
        mut self,
        upgrade: &Upgrade,
        config: Config,
    ) -> Result<WebSocket<S>, Error> {
        let (response, agreed) = match upgrade.accept(&self.request) {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!(status = %error.status(), error = %error, "handshake refused");
                // As in `receive`.
                let _ = refuse(&mut self.stream, self.time, &error.response()).await;
                return Err(error.into());
            }
        };
        let answer = encode_accepted(&self.request, &response);
        write(&mut self.stream, self.time, &answer).await?;
        Ok(self.into_socket(agreed, config))
    }

    /// Answers with any response and closes the stream, giving the peer a second to read it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], or [`Error::Handshake`] with
    /// [`TimedOut`](HandshakeError::TimedOut) if the peer does not take the response.
    ///
    /// # Cancel safety
    ///
    /// A dropped call drops the stream.
    pub fn reject<B: AsRef<[u8]>>(
        mut self,
        response: &Response<B>,
    ) -> impl Future<Output = Result<(), Error>> {
        debug!(status = %response.status(), "handshake rejected by the application");
        Box::pin(async move { refuse(&mut self.stream, self.time, response).await })
    }

    /// The request: path, query, headers.
    pub fn request(&self) -> &Request<()> {
        &self.request
    }

    /// The stream, for example to ask for an address.
    pub const fn get_ref(&self) -> &S {
        &self.stream
    }

    fn into_socket(self, agreed: Agreed, config: Config) -> WebSocket<S> {
        WebSocket::new(self.stream, Role::Server, agreed, config, &self.unread)
    }
}

/// Reads a head within a time, has it taken, and refuses what cannot be. Gives what came behind it
/// too.
async fn receive<S, T>(
    stream: &mut S,
    upgrade: &Upgrade,
    take: impl FnOnce(&Head) -> Result<T, HandshakeError>,
) -> Result<(T, Vec<u8>), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let time = upgrade.time_limit();
    let error = match within(time, read_head(stream, upgrade)).await {
        Ok(Ok((head, unread))) => match take(&head) {
            Ok(taken) => return Ok((taken, unread)),
            Err(error) => error,
        },
        Ok(Err(Error::Handshake(error))) => error,
        Ok(Err(error)) => return Err(error),
        Err(_) => HandshakeError::TimedOut,
    };
    debug!(status = %error.status(), error = %error, "handshake refused");
    // Why it was refused is known, whether or not the peer takes the answer.
    let _ = refuse(stream, time, &error.response()).await;
    Err(error.into())
}

async fn read_head<S: AsyncRead + Unpin>(
    stream: &mut S,
    upgrade: &Upgrade,
) -> Result<(Head, Vec<u8>), Error> {
    let mut head = RequestHead::new(upgrade);
    poll_fn(|cx| {
        // Lent for as long as there is something in it: who waits for a request holds no buffer.
        let mut buffer = Buffer::new(BUFFER_SIZE);
        loop {
            let count = ready!(poll_read(cx, Pin::new(stream), &mut buffer))?;
            if count == 0 {
                return Poll::Ready(Err(if head.is_empty() {
                    Error::ConnectionLost
                } else {
                    HandshakeError::Truncated.into()
                }));
            }
            let mut input = &buffer[..count];
            if let Some(head) = head.receive_head(&mut input)? {
                return Poll::Ready(Ok((head, input.to_vec())));
            }
        }
    })
    .await
}

/// Writes a response, ends the stream, and reads on for a moment, so that no reset destroys the
/// response before the peer has read it (RFC 9112 §9.6).
async fn refuse<S, B>(stream: &mut S, time: Duration, response: &Response<B>) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: AsRef<[u8]>,
{
    write(stream, time, &encode_response(response)).await?;
    let drained = async {
        stream.shutdown().await?;
        let mut buffer = vec![0; BUFFER_SIZE];
        while stream.read(&mut buffer).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    // The response is written: how the peer takes the end of the stream no longer matters.
    let _ = timeout(LINGER, drained).await;
    Ok(())
}

/// Writes all of `bytes` within a time.
async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    time: Duration,
    bytes: &[u8],
) -> Result<(), Error> {
    let written = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    match within(time, written).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(HandshakeError::TimedOut.into()),
    }
}

/// As [`timeout`], but without a timer for what is done at once.
async fn within<F: Future>(time: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        return Ok(done);
    }
    timeout(time, future).await
}
