//! The client's end of the opening handshake over a stream (§4.1).

use std::time::Duration;

use http::Response;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::Error;
use super::websocket::WebSocket;
use crate::handshake::{HandshakeError, Offer, Refusal, ResponseHead, Upgrade};
use crate::protocol::{Config, Role};

/// Connects to a `ws` URL with the default [`Upgrade`] and [`Config`].
///
/// # Errors
///
/// [`Error::Handshake`] for a URL that is none, a refusal, or an answer that does not come within
/// 10 seconds; [`Error::TlsNeeded`] for `wss`; [`Error::Io`].
///
/// # Cancel safety
///
/// A dropped call drops the stream.
///
/// # Examples
///
/// ```
/// # async fn example() -> Result<(), wsroom::Error> {
/// let mut socket = wsroom::connect("ws://127.0.0.1:9002/chat").await?;
/// socket.send("hello").await?;
/// while let Some(message) = socket.recv().await? {
///     println!("{message:?}");
/// }
/// # Ok(()) }
/// ```
pub async fn connect(url: &str) -> Result<WebSocket<TcpStream>, Error> {
    let (socket, _) = connect_with(url, &Upgrade::default(), Config::default()).await?;
    Ok(socket)
}

/// Connects to a `ws` URL, and gives the server's response too.
///
/// # Errors
///
/// As [`connect`]. A refusal is [`HandshakeError::Refused`] with status, headers and content.
///
/// # Cancel safety
///
/// A dropped call drops the stream.
///
/// # Examples
///
/// ```
/// use wsroom::{Config, Error, HandshakeError, Upgrade};
///
/// # async fn example() -> Result<(), Error> {
/// let upgrade = Upgrade::default()
///     .protocols(["chat"])
///     .header("Authorization", "Bearer secret");
/// match wsroom::net::connect_with("ws://127.0.0.1:9002/", &upgrade, Config::default()).await {
///     Ok((socket, _response)) => assert_eq!(socket.protocol(), Some("chat")),
///     Err(Error::Handshake(HandshakeError::Refused(response))) => {
///         eprintln!("refused with {}", response.status());
///     }
///     Err(error) => return Err(error),
/// }
/// # Ok(()) }
/// ```
pub async fn connect_with(
    url: &str,
    upgrade: &Upgrade,
    config: Config,
) -> Result<(WebSocket<TcpStream>, Response<()>), Error> {
    let offer = upgrade.offer(url)?;
    if offer.is_secure() {
        return Err(Error::TlsNeeded);
    }
    let opened = within(upgrade, async {
        let mut stream = TcpStream::connect((offer.host(), offer.port())).await?;
        // Frames leave when they are flushed; the kernel is not to wait for more.
        stream.set_nodelay(true)?;
        let (response, unread) = exchange(&mut stream, &offer, upgrade).await?;
        Ok((stream, response, unread))
    });
    let (stream, response, unread) = opened.await?;
    judge(stream, &offer, upgrade, config, response, &unread).await
}

/// How long the content of a refusal may take to come.
const CONTENT_TIME: Duration = Duration::from_secs(2);

/// How much is read at a time. It lies on the heap: in the future it would take its place in every
/// task for as long as the connection lives.
const BUFFER_SIZE: usize = 4096;

/// Opens a WebSocket over a stream that is connected already: TLS, a Unix socket, a proxy.
///
/// Of the URL only what the request says of it is used; the scheme does not matter.
///
/// # Errors
///
/// As [`connect_with`], but for [`Error::TlsNeeded`].
///
/// # Cancel safety
///
/// A dropped call drops the stream.
pub async fn connect_over<S>(
    mut stream: S,
    url: &str,
    upgrade: &Upgrade,
    config: Config,
) -> Result<(WebSocket<S>, Response<()>), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let offer = upgrade.offer(url)?;
    let exchanged = within(upgrade, exchange(&mut stream, &offer, upgrade));
    let (response, unread) = exchanged.await?;
    judge(stream, &offer, upgrade, config, response, &unread).await
}

/// Sends the request and reads the head of the response; what came behind it is not to be lost.
async fn exchange<S>(
    stream: &mut S,
    offer: &Offer,
    upgrade: &Upgrade,
) -> Result<(Response<()>, Vec<u8>), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(&offer.encode()).await?;
    stream.flush().await?;
    let mut head = ResponseHead::new(upgrade);
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(HandshakeError::Truncated.into());
        }
        let mut input = &buffer[..count];
        if let Some(response) = head.receive(&mut input)? {
            return Ok((response, input.to_vec()));
        }
    }
}

/// Opens the WebSocket, or says why not.
async fn judge<S>(
    stream: S,
    offer: &Offer,
    upgrade: &Upgrade,
    config: Config,
    response: Response<()>,
    unread: &[u8],
) -> Result<(WebSocket<S>, Response<()>), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match offer.verify(&response) {
        Ok(agreed) => {
            let socket = WebSocket::new(stream, Role::Client, agreed, config, unread);
            Ok((socket, response))
        }
        Err(HandshakeError::Refused(_)) => {
            Err(read_refusal(stream, upgrade, response, unread).await)
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads the content of a refusal, as far as it comes and fits the limit.
async fn read_refusal<S: AsyncRead + Unpin>(
    mut stream: S,
    upgrade: &Upgrade,
    response: Response<()>,
    mut unread: &[u8],
) -> Error {
    let mut refusal = Refusal::new(upgrade, response);
    refusal.receive(&mut unread);
    let content = async {
        let mut buffer = vec![0; BUFFER_SIZE];
        while refusal.wants_more() {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => refusal.receive(&mut &buffer[..count]),
            }
        }
    };
    // That it was refused is known; the rest of the content is worth a short wait only.
    let _ = timeout(CONTENT_TIME, content).await;
    refusal.into_error().into()
}

/// §4.1, item 2: the whole handshake has one deadline.
async fn within<T>(
    upgrade: &Upgrade,
    handshake: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match timeout(upgrade.time_limit(), handshake).await {
        Ok(result) => result,
        Err(_) => Err(HandshakeError::TimedOut.into()),
    }
}
