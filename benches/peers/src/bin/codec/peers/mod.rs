//! The contestants, a file each. A contestant gives the jobs that it can do of a workload: one as
//! its documentation shows it, and one batched by hand where its API allows that.

mod fastwebsockets;
mod nago;
mod nexus;
mod ratchet;
mod raw;
mod sockudo;
mod soketto;
mod tokio_websockets;
mod tungstenite;
mod web_socket;
mod wsroom;
mod wtx;
mod yawc;

use std::sync::Arc;

use crate::workload::Workload;

/// Does all messages of a workload once. It is called over and over.
pub type Job = Box<dyn FnMut()>;

/// A contestant's name, and its job.
pub type Entry = (String, Job);

/// Gives the jobs that a contestant can do of a workload, which may be none.
type Contestant = fn(&Arc<Workload>) -> Vec<Entry>;

pub const ALL: [Contestant; 13] = [
    wsroom::jobs,
    raw::jobs,
    nexus::jobs,
    sockudo::jobs,
    tokio_websockets::jobs,
    tungstenite::jobs,
    fastwebsockets::jobs,
    yawc::jobs,
    nago::jobs,
    web_socket::jobs,
    wtx::jobs,
    soketto::jobs,
    ratchet::jobs,
];

/// An entry, with the adapter behind the name if there are several.
fn entry(krate: &str, adapter: &str, job: impl FnMut() + 'static) -> Entry {
    let name = wsroom_peers::contestant(krate);
    let name = if adapter.is_empty() {
        name
    } else {
        format!("{name}, {adapter}")
    };
    (name, Box::new(job))
}

/// For a contestant that gives text without a look at it.
#[inline]
fn validate(text: &[u8]) -> &str {
    simdutf8::basic::from_utf8(text).expect("the text is UTF-8")
}
