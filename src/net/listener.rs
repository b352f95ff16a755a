//! A small server: it accepts connections, bounds them, reads their requests and calls a handler.

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use super::error::Error;
use super::server::Incoming;
use super::websocket::WebSocket;
use crate::handshake::Upgrade;
use crate::limits::{Bound, InForce};
use crate::log::{debug, warn};
use crate::protocol::Config;

/// A small server for WebSockets that need no HTTP server beside them.
///
/// Each connection has a task of its own, in which its request is read and the handler is called
/// with it as an [`Arrival`], before anything is decided. A panic in there ends that connection
/// only. If connections can't be accepted for lack of descriptors or memory, the server waits for
/// up to half a second, says so in the log, and goes on.
///
/// Pages of other sites are not let in, unless [`Upgrade::allow_origins`] or
/// [`any_origin`](Self::any_origin) says so (§10.2).
///
/// # Examples
///
/// ```no_run
/// use http::{Response, StatusCode};
/// use wsroom::net::{Arrival, Server};
/// use wsroom::{Config, Error, Upgrade};
///
/// async fn handle(arrival: Arrival) -> Result<(), Error> {
///     match arrival.request().uri().path() {
///         "/echo" => {
///             let mut socket = arrival.accept().await?;
///             while let Some(message) = socket.recv().await? {
///                 socket.feed(message).await?;
///             }
///             Ok(())
///         }
///         "/chat" => {
///             let upgrade = arrival.upgrade().clone().protocols(["chat"]);
///             let mut socket = arrival.accept_with(&upgrade, Config::default()).await?;
///             socket.send("welcome").await?;
///             socket.close(None).await?;
///             Ok(())
///         }
///         _ => {
///             let mut response = Response::new("nothing here\n");
///             *response.status_mut() = StatusCode::NOT_FOUND;
///             arrival.reject(&response).await
///         }
///     }
/// }
///
/// # async fn example() -> std::io::Result<()> {
/// let server = Server::bind("127.0.0.1:9002")
///     .await?
///     .config(Config::default().max_message_size(64 << 10));
/// println!("listening on {}", server.local_addr()?);
/// server.serve(handle).await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is accepted before `serve`"]
pub struct Server {
    listener: TcpListener,
    upgrade: Upgrade,
    any_origin: bool,
    config: Config,
    max_handshakes: usize,
    max_connections: usize,
    shutdown_timeout: Duration,
}

impl Server {
    /// Makes a server that listens on an address.
    ///
    /// # Errors
    ///
    /// As [`TcpListener::bind`].
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves nothing behind.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Self::new(TcpListener::bind(address).await?))
    }

    /// Makes a server of a listener.
    pub fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            upgrade: Upgrade::default(),
            any_origin: false,
            config: Config::default(),
            max_handshakes: 1024,
            max_connections: 65_536,
            shutdown_timeout: Duration::from_secs(10),
        }
    }

    /// Sets what [`Arrival::accept`] accepts, and the limits and the time of the handshake. The
    /// server adds [`Upgrade::same_origin`].
    pub fn upgrade(mut self, upgrade: Upgrade) -> Self {
        self.upgrade = upgrade;
        self
    }

    /// Lets in pages of any site, or those of [`Upgrade::allow_origins`] only if that is set.
    ///
    /// A page of any site can then talk to the server in the name of whoever reads it.
    pub fn any_origin(mut self) -> Self {
        self.any_origin = true;
        self
    }

    /// Sets the limits and deadlines of the connections.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets how many connections may be in their opening handshake, from the first byte to the
    /// answer: 1024. More wait in the backlog of the operating system.
    pub fn max_handshakes(mut self, connections: usize) -> Self {
        self.max_handshakes = connections;
        self
    }

    /// Sets how many connections there may be, handshakes included: 65,536. More wait in the
    /// backlog of the operating system.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// Sets how long [`serve_until`](Self::serve_until) waits for handlers in the end: 10 seconds.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// The limits in force as a list: those of the server, of its opening handshakes and of its
    /// connections. A handler may set others for its own.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// let server = wsroom::net::Server::bind("127.0.0.1:9002").await?;
    /// print!("{}", server.in_force());
    /// # Ok(()) }
    /// ```
    pub fn in_force(&self) -> InForce {
        let own = [
            ("max_handshakes", Bound::count(self.max_handshakes)),
            ("max_connections", Bound::count(self.max_connections)),
            ("shutdown_timeout", Bound::time(self.shutdown_timeout)),
        ];
        InForce::new("Server", own)
            .and(self.upgrade.in_force())
            .and(self.config.in_force())
    }

    /// The address that the server listens on.
    ///
    /// # Errors
    ///
    /// As [`TcpListener::local_addr`].
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts connections for ever. What the handler gives in the end is dropped.
    ///
    /// # Cancel safety
    ///
    /// A dropped call drops the listener and all handlers.
    pub async fn serve<H, F>(self, handler: H)
    where
        H: Fn(Arrival) -> F + Send + Sync + 'static,
        F: Future + Send + 'static,
    {
        self.serve_until(pending::<Infallible>(), handler).await;
    }

    /// Accepts connections until `shutdown` is done, then waits for the handlers for as long as
    /// [`shutdown_timeout`](Self::shutdown_timeout) says. Those that are not done by then are
    /// dropped; gives their number.
    ///
    /// The handlers are not told: `shutdown` is the place to do so.
    ///
    /// # Cancel safety
    ///
    /// A dropped call drops the listener and all handlers.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(server: wsroom::net::Server, ctrl_c: impl Future<Output = ()>) {
    /// use tokio::sync::watch;
    /// use wsroom::net::{Arrival, Server};
    /// use wsroom::{CloseCode, CloseFrame, Error};
    ///
    /// async fn handle(arrival: Arrival, mut leaving: watch::Receiver<()>) -> Result<(), Error> {
    ///     let mut socket = arrival.accept().await?;
    ///     loop {
    ///         tokio::select! {
    ///             received = socket.recv() => match received? {
    ///                 Some(message) => socket.send(message).await?,
    ///                 None => return Ok(()),
    ///             },
    ///             _ = leaving.changed() => {
    ///                 socket.close(CloseCode::GOING_AWAY).await?;
    ///                 return Ok(());
    ///             }
    ///         }
    ///     }
    /// }
    ///
    /// let (leave, leaving) = watch::channel(());
    /// let shutdown = async move {
    ///     ctrl_c.await;
    ///     drop(leave);
    /// };
    /// let handler = move |arrival| handle(arrival, leaving.clone());
    /// let dropped = server.serve_until(shutdown, handler).await;
    /// println!("{dropped} connections did not close in time");
    /// # }
    /// ```
    pub async fn serve_until<H, F>(self, shutdown: impl Future, handler: H) -> usize
    where
        H: Fn(Arrival) -> F + Send + Sync + 'static,
        F: Future + Send + 'static,
    {
        let mut terms = Terms {
            upgrade: Upgrade::default(),
            any_origin: self.any_origin,
            config: self.config,
        };
        terms.upgrade = terms.with_origins(self.upgrade);
        let shared = Arc::new(Shared {
            terms: Arc::new(terms),
            handler,
        });
        let door = Door {
            listener: self.listener,
            connections: semaphore(self.max_connections),
            handshakes: semaphore(self.max_handshakes),
        };
        let mut tasks = JoinSet::new();
        accept_until(shutdown, &door, &mut tasks, &shared).await;
        drop(door);
        let all_ended = async {
            while let Some(ended) = tasks.join_next().await {
                note(ended);
            }
        };
        // Who is left is counted and dropped with the set.
        let _ = timeout(self.shutdown_timeout, all_ended).await;
        tasks.len()
    }
}

/// Accepts connections and gives each to a task, until `shutdown` is done.
async fn accept_until<H, F>(
    shutdown: impl Future,
    door: &Door,
    tasks: &mut JoinSet<()>,
    shared: &Arc<Shared<H>>,
) where
    H: Fn(Arrival) -> F + Send + Sync + 'static,
    F: Future + Send + 'static,
{
    let mut shutdown = pin!(shutdown);
    let mut next = pin!(door.next());
    poll_fn(|cx| {
        loop {
            while let Poll::Ready(Some(ended)) = tasks.poll_join_next(cx) {
                note(ended);
            }
            if shutdown.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let admitted = ready!(next.as_mut().poll(cx));
            next.set(door.next());
            tasks.spawn(receive(admitted, Arc::clone(shared)));
        }
    })
    .await;
}

/// What the tasks of all connections use.
struct Shared<H> {
    terms: Arc<Terms>,
    handler: H,
}

/// What a server accepts.
#[derive(Debug)]
struct Terms {
    upgrade: Upgrade,
    any_origin: bool,
    config: Config,
}

impl Terms {
    /// §10.2: what the server says of origins holds for whatever a handler accepts with.
    fn with_origins(&self, upgrade: Upgrade) -> Upgrade {
        match self.any_origin {
            true => upgrade,
            false => upgrade.same_origin(),
        }
    }
}

/// Reads the request of a connection and calls the handler.
async fn receive<H, F>(admitted: Admitted, shared: Arc<Shared<H>>)
where
    H: Fn(Arrival) -> F,
    F: Future,
{
    let _connection = admitted.connection;
    // A stream of which this can't be set is lost already, which its reader will find.
    let _ = admitted.stream.set_nodelay(true);
    let Ok(incoming) = Incoming::read(admitted.stream, &shared.terms.upgrade).await else {
        return;
    };
    let arrival = Arrival {
        incoming,
        peer: admitted.peer,
        terms: Arc::clone(&shared.terms),
        _handshake: admitted.handshake,
    };
    (shared.handler)(arrival).await;
}

fn note(ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        warn!("handler panicked");
    }
}

/// A request to a [`Server`] that was not answered yet.
///
/// It is an [`Incoming`] together with what the server accepts. Dropping it closes the connection
/// without an answer.
#[derive(Debug)]
pub struct Arrival {
    incoming: Incoming<TcpStream>,
    peer: SocketAddr,
    terms: Arc<Terms>,
    _handshake: OwnedSemaphorePermit,
}

impl Arrival {
    /// Accepts with what the server was given. See [`Incoming::accept`].
    ///
    /// # Errors
    ///
    /// As [`Incoming::accept`].
    ///
    /// # Cancel safety
    ///
    /// A dropped call drops the connection.
    pub fn accept(self) -> impl Future<Output = Result<WebSocket<TcpStream>, Error>> {
        Box::pin(async move {
            let Self {
                incoming,
                terms,
                _handshake,
                ..
            } = self;
            incoming.accept_here(&terms.upgrade, terms.config).await
        })
    }

    /// Accepts with another [`Upgrade`], best made of a clone of [`upgrade`](Self::upgrade), and
    /// another [`Config`]. [`Upgrade::same_origin`] is added here too, unless the server lets in
    /// [any origin](Server::any_origin).
    ///
    /// # Errors
    ///
    /// As [`Incoming::accept`].
    ///
    /// # Cancel safety
    ///
    /// A dropped call drops the connection.
    pub fn accept_with(
        self,
        upgrade: &Upgrade,
        config: Config,
    ) -> impl Future<Output = Result<WebSocket<TcpStream>, Error>> {
        Box::pin(async move {
            let Self {
                incoming,
                terms,
                _handshake,
                ..
            } = self;
            let upgrade = terms.with_origins(upgrade.clone());
            incoming.accept_here(&upgrade, config).await
        })
    }

    /// Answers with any response and closes the connection. See [`Incoming::reject`].
    ///
    /// # Errors
    ///
    /// As [`Incoming::reject`].
    ///
    /// # Cancel safety
    ///
    /// A dropped call drops the connection.
    pub async fn reject<B: AsRef<[u8]>>(self, response: &Response<B>) -> Result<(), Error> {
        self.incoming.reject(response).await
    }

    /// The request: path, query, headers.
    pub fn request(&self) -> &Request<()> {
        self.incoming.request()
    }

    /// The address of the client, or of the proxy in front of the server.
    pub const fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// What the server accepts.
    pub fn upgrade(&self) -> &Upgrade {
        &self.terms.upgrade
    }

    /// The limits and deadlines of the server's connections.
    pub fn config(&self) -> Config {
        self.terms.config
    }
}

/// Where connections come in, one after another.
struct Door {
    listener: TcpListener,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
}

/// A connection with its place among all and among those in their handshake.
struct Admitted {
    stream: TcpStream,
    peer: SocketAddr,
    connection: OwnedSemaphorePermit,
    handshake: OwnedSemaphorePermit,
}

impl Door {
    /// Waits for places and for a connection.
    async fn next(&self) -> Admitted {
        let connection = place(&self.connections).await;
        let handshake = place(&self.handshakes).await;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.listener.accept().await {
                Ok((stream, peer)) => {
                    return Admitted {
                        stream,
                        peer,
                        connection,
                        handshake,
                    };
                }
                Err(error) => error,
            };
            if is_of_one_connection(&error) {
                debug!(error = %error, "connection lost before it was accepted");
                continue;
            }
            // Such as EMFILE: the connection is still there, so asking again at once would spin.
            warn!(error = %error, "cannot accept connections");
            sleep(pause).await;
            pause = (2 * pause).min(LAST_PAUSE);
        }
    }
}

/// Short enough not to be noticed when a descriptor is free soon.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Two lines of log a second at most, and back in service within a second.
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// Whether the next connection may be accepted at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

fn semaphore(places: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)))
}

async fn place(places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let place = Arc::clone(places).acquire_owned().await;
    place.expect("the semaphores are never closed")
}
