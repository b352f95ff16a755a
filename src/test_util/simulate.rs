//! One test over many seeds.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::timeout;

use super::network::Network;

/// How long a run may take, by its own clock.
const TIME_LIMIT: Duration = Duration::from_secs(60 * 60);

/// How much of the log is shown of a run that failed.
const SHOWN: usize = 40;

/// Runs a test once for each seed, each time on a network and a runtime of its own, of one thread,
/// with a paused clock.
///
/// If a run panics, its seed and the end of its log are printed; to see it again, run that seed
/// alone: `simulate([17], …)`. A run that is not done after an hour by its own clock has failed
/// too, so one that waits for what never comes fails at once. Tasks that are left are dropped, and a
/// task that panics fails the run only if the test awaits its handle.
///
/// # Panics
///
/// Panics with what the first failing run panicked with; in an asynchronous context, in which no
/// other runtime can run.
///
/// # Examples
///
/// ```
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use wsroom::test_util::{Faults, simulate};
///
/// simulate(0..20, async |network| {
///     network.set_faults(Faults::lossless());
///     let (mut client, mut server) = network.pair();
///     let len = network.draw(1..5_000) as usize;
///     tokio::spawn(async move { client.write_all(&vec![7; len]).await });
///     let mut bytes = Vec::new();
///     server.read_to_end(&mut bytes).await.unwrap();
///     assert_eq!(bytes, vec![7; len]);
/// });
/// ```
pub fn simulate(seeds: impl IntoIterator<Item = u64>, mut test: impl AsyncFnMut(Network)) {
    for seed in seeds {
        let mut network = None;
        let run = || {
            let runtime = Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime without I/O takes memory only");
            runtime.block_on(async {
                let network = network.insert(Network::seeded(seed));
                let done = timeout(TIME_LIMIT, test(network.clone())).await;
                assert!(done.is_ok(), "not done after an hour of simulated time");
            });
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            eprintln!(
                "simulation failed with seed {seed}, to be repeated with simulate([{seed}], …)"
            );
            let log = network.map(|network| network.log()).unwrap_or_default();
            for entry in &log[log.len().saturating_sub(SHOWN)..] {
                eprintln!("  {entry}");
            }
            resume_unwind(panic);
        }
    }
}
