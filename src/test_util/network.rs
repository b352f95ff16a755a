//! Networks, and servers that clients find on them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::chance::Chance;
use super::endpoint::Endpoint;
use super::faults::Faults;
use super::log::{End, Log, LogEntry};
use super::wire::SharedWire;

/// A network in memory. Clones are the same network.
///
/// What goes wrong by itself is set with [`set_faults`](Self::set_faults), nothing by default; a
/// single connection is broken through its [`Link`](super::Link).
///
/// # Examples
///
/// ```
/// use wsroom::net::connect_over;
/// use wsroom::test_util::{Faults, Network};
/// use wsroom::{Config, Upgrade};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let network = Network::seeded(42);
/// network.set_faults(Faults::lossless());
/// let mut listener = network.listen("echo")?;
/// tokio::spawn(async move {
///     while let Some(stream) = listener.accept().await {
///         tokio::spawn(async move {
///             let mut socket = wsroom::accept(stream).await?;
///             while let Some(message) = socket.recv().await? {
///                 socket.send(message).await?;
///             }
///             Ok::<(), wsroom::Error>(())
///         });
///     }
/// });
///
/// let stream = network.connect("echo").await?;
/// let (mut socket, _) =
///     connect_over(stream, "ws://echo/", &Upgrade::default(), Config::default()).await?;
/// socket.send("hello").await?;
/// assert_eq!(socket.recv().await?, Some("hello".into()));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Network {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    seed: u64,
    state: Mutex<State>,
    log: Arc<Log>,
}

#[derive(Debug)]
struct State {
    chance: Chance,
    faults: Faults,
    links: u64,
    listeners: BTreeMap<String, mpsc::Sender<Endpoint>>,
}

/// Where clients of a [`Network`] arrive. Dropping it refuses those that were not accepted.
#[derive(Debug)]
pub struct Listener {
    arriving: mpsc::Receiver<Endpoint>,
}

/// How many connections wait to be accepted; more wait to be opened.
const BACKLOG: usize = 128;

impl Network {
    /// Makes a network on which everything that is left to chance comes from this seed.
    pub fn seeded(seed: u64) -> Self {
        let state = State {
            chance: Chance::new(seed),
            faults: Faults::none(),
            links: 0,
            listeners: BTreeMap::new(),
        };
        Self {
            shared: Arc::new(Shared {
                seed,
                state: Mutex::new(state),
                log: Arc::new(Log::new()),
            }),
        }
    }

    /// Sets what happens by chance on links that are opened from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Opens a link: the end of the client and the end of the server.
    pub fn pair(&self) -> (Endpoint, Endpoint) {
        let mut state = self.lock();
        state.links += 1;
        // Each link draws numbers of its own, so that what one does moves nothing on the others.
        let seed = state.chance.next();
        let (number, faults) = (state.links, state.faults.clone());
        drop(state);
        let log = Arc::clone(&self.shared.log);
        let wire = Arc::new(SharedWire::new(number, seed, faults, log));
        (
            Endpoint::new(Arc::clone(&wire), End::Client),
            Endpoint::new(wire, End::Server),
        )
    }

    /// Has clients arrive that [`connect`](Self::connect) to this name.
    ///
    /// # Errors
    ///
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if there is a listener of this name.
    pub fn listen(&self, name: &str) -> io::Result<Listener> {
        let mut state = self.lock();
        if let Some(listener) = state.listeners.get(name)
            && !listener.is_closed()
        {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (sender, arriving) = mpsc::channel(BACKLOG);
        state.listeners.insert(name.to_owned(), sender);
        Ok(Listener { arriving })
    }

    /// Opens a link to the listener of this name, which takes two latencies.
    ///
    /// # Errors
    ///
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if there is none.
    ///
    /// # Cancel safety
    ///
    /// A dropped call drops the link.
    pub async fn connect(&self, name: &str) -> io::Result<Endpoint> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listener = self.lock().listeners.get(name).cloned();
        let listener = listener.ok_or_else(refused)?;
        let (client, server) = self.pair();
        sleep(client.round_trip()).await;
        listener.send(server).await.map_err(|_| refused())?;
        Ok(client)
    }

    /// A number for the test's own use, from the seed: which client leaves, how much it sends.
    ///
    /// # Panics
    ///
    /// Panics if the range is empty.
    pub fn draw(&self, range: Range<u64>) -> u64 {
        assert!(!range.is_empty(), "there is a number to draw");
        range.start + self.lock().chance.below(range.end - range.start)
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.shared.seed
    }

    /// What has happened, the newest 4096 entries of it.
    pub fn log(&self) -> Vec<LogEntry> {
        self.shared.log.entries()
    }

    /// A digest of all that has happened: runs that have the same went the same way, on one
    /// version of Rust.
    pub fn digest(&self) -> u64 {
        self.shared.log.digest()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Waits for the next client; `None` once the network is gone and all were taken.
    ///
    /// # Cancel safety
    ///
    /// No client is lost: a dropped call has taken none.
    pub async fn accept(&mut self) -> Option<Endpoint> {
        self.arriving.recv().await
    }
}
