//! Who takes part in the socket suites, and what they are called.

/// A server, as `echo_server` or `js/` knows it.
#[derive(Clone, Copy)]
pub struct Contestant {
    /// Its name on the command line of its server.
    pub name: &'static str,
    /// The crate or npm package whose version stands in the table; none for a control.
    package: &'static str,
    /// What stands behind the version, if it takes part in several ways.
    adapter: &'static str,
    /// What runs it.
    pub program: Program,
}

/// What runs a server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `echo_server`, answering bytes rather than frames.
    Raw,
    /// `echo_server`.
    Rust,
    /// Node.js.
    Node,
    /// Bun, out of `js/node_modules`.
    Bun,
}

impl Contestant {
    const fn of(program: Program, name: &'static str, package: &'static str) -> Self {
        Self {
            name,
            package,
            adapter: "",
            program,
        }
    }

    const fn with(mut self, adapter: &'static str) -> Self {
        self.adapter = adapter;
        self
    }

    /// The name in the table: the package with its version, and the adapter.
    pub fn label(&self) -> String {
        let mut label = match self.program {
            Program::Raw => format!("raw {}", self.package),
            Program::Rust => format!("{} {}", self.package, locked_version(self.package)),
            Program::Node | Program::Bun => {
                format!("{} {}", self.package, installed_version(self.package))
            }
        };
        if !self.adapter.is_empty() {
            label = format!("{label}, {}", self.adapter);
        }
        label
    }

    /// Whether its package is there. Those from npm are after `npm install` in `js/`.
    pub fn is_installed(&self) -> bool {
        matches!(self.program, Program::Raw | Program::Rust)
            || installed_version(self.package) != "?"
    }

    /// Whether one of the words means this one; all are meant if there are none. A word is a name, or
    /// a part of a label.
    pub fn is_meant(&self, words: &[String]) -> bool {
        let named = |word: &String| ECHO.iter().chain(IDLE).any(|it| it.name == word);
        let label = self.label();
        words.is_empty()
            || words.iter().any(|word| match named(word) {
                true => self.name == word,
                false => label.contains(word.as_str()),
            })
    }
}

/// The version that this package is built with.
fn locked_version(package: &str) -> &'static str {
    let lock = include_str!("../../Cargo.lock");
    let name = format!("name = \"{package}\"\nversion = \"");
    let (_, behind) = lock.split_once(&name).expect("a dependency");
    behind.split('"').next().expect("a version")
}

/// The version that npm installed.
fn installed_version(package: &str) -> String {
    let path = format!(
        "{}/js/node_modules/{package}/package.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let manifest = std::fs::read_to_string(path).unwrap_or_default();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap_or_default();
    manifest["version"].as_str().unwrap_or("?").to_owned()
}

/// The controls and all who echo.
pub const ECHO: &[Contestant] = &[
    Contestant::of(Program::Raw, "epoll", "epoll"),
    Contestant::of(Program::Raw, "tokio", "tokio"),
    Contestant::of(Program::Rust, "wsroom", "wsroom").with("recv/feed"),
    Contestant::of(Program::Rust, "wsroom-each", "wsroom").with("recv_each"),
    Contestant::of(Program::Rust, "wsroom-send", "wsroom").with("send"),
    Contestant::of(Program::Rust, "wsroom-session", "wsroom").with("Session"),
    Contestant::of(Program::Rust, "tungstenite", "tokio-tungstenite"),
    Contestant::of(Program::Rust, "tungstenite-batched", "tokio-tungstenite").with("batched"),
    Contestant::of(Program::Rust, "tokio-websockets", "tokio-websockets"),
    Contestant::of(Program::Rust, "tokio-websockets-feed", "tokio-websockets").with("feed"),
    Contestant::of(
        Program::Rust,
        "tokio-websockets-batched",
        "tokio-websockets",
    )
    .with("batched"),
    Contestant::of(Program::Rust, "fastwebsockets", "fastwebsockets"),
    Contestant::of(Program::Rust, "fastwebsockets-batched", "fastwebsockets").with("batched"),
    Contestant::of(Program::Rust, "sockudo", "sockudo-ws"),
    Contestant::of(Program::Rust, "sockudo-feed", "sockudo-ws").with("feed"),
    Contestant::of(Program::Rust, "sockudo-raw", "sockudo-ws").with("raw, batched"),
    Contestant::of(Program::Rust, "yawc", "yawc"),
    Contestant::of(Program::Rust, "yawc-tuned", "yawc").with("tuned, batched"),
    Contestant::of(Program::Rust, "nexus", "nexus-async-web"),
    Contestant::of(Program::Rust, "nexus-batched", "nexus-async-web").with("batched"),
    Contestant::of(Program::Rust, "web-socket", "web-socket"),
    Contestant::of(Program::Rust, "web-socket-batched", "web-socket").with("batched"),
    Contestant::of(Program::Rust, "wtx", "wtx"),
    Contestant::of(Program::Rust, "soketto", "soketto"),
    Contestant::of(Program::Rust, "soketto-batched", "soketto").with("batched"),
    Contestant::of(Program::Rust, "ratchet", "ratchet_rs"),
    Contestant::of(Program::Rust, "ratchet-batched", "ratchet_rs").with("batched"),
    Contestant::of(Program::Node, "ws", "ws"),
    Contestant::of(Program::Node, "ws-batched", "ws").with("batched"),
    Contestant::of(Program::Bun, "bun", "bun"),
];

/// Whose idle connections are counted.
pub const IDLE: &[Contestant] = &[
    Contestant::of(Program::Raw, "tokio", "tokio"),
    Contestant::of(Program::Rust, "wsroom", "wsroom").with("WebSocket"),
    Contestant::of(Program::Rust, "wsroom-session", "wsroom").with("Session"),
    Contestant::of(Program::Rust, "wsroom-room", "wsroom").with("Session in a room"),
    Contestant::of(Program::Rust, "tungstenite", "tokio-tungstenite"),
    Contestant::of(Program::Rust, "tokio-websockets", "tokio-websockets"),
    Contestant::of(Program::Rust, "fastwebsockets", "fastwebsockets"),
    Contestant::of(Program::Rust, "sockudo", "sockudo-ws"),
    Contestant::of(Program::Rust, "yawc", "yawc"),
    Contestant::of(Program::Node, "ws", "ws"),
    Contestant::of(Program::Bun, "bun", "bun"),
];
