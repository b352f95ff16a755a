//! The codec alone: every contestant over the same stream in memory, on one thread.

mod counts;
mod peers;
mod wire;
mod workload;

use std::sync::Arc;
use std::time::{Duration, Instant};

use wsroom::{Agreed, Connection, Event, Role};
use wsroom_peers::Row;

use peers::Entry;
use workload::{Random, Task, Workload};

const USAGE: &str = "\
usage: codec [--short] [--only CONTESTANT] [FILTER]

Prints a line of JSON for every figure. FILTER takes the workloads whose suite or name has it in
it, --only the contestants. --short takes fewer and shorter samples.";

struct Options {
    is_short: bool,
    only: String,
    filter: String,
}

fn main() {
    let options = Options::parse();
    // Contestants that keep time do so with tokio's timers.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime needs only a descriptor");
    let _entered = runtime.enter();
    check_validation();
    let mut random = Random(std::process::id().into());
    for work in workload::all() {
        if work.suite.contains(&options.filter) || work.name.contains(&options.filter) {
            measure(&work, &options, &mut random);
        }
    }
}

impl Options {
    fn parse() -> Self {
        let mut options = Self {
            is_short: false,
            only: String::new(),
            filter: String::new(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match &*argument {
                "--short" => options.is_short = true,
                "--only" => options.only = arguments.next().unwrap_or_else(|| usage()),
                _ if argument.starts_with('-') => usage(),
                _ => options.filter = argument,
            }
        }
        options
    }
}

fn usage() -> ! {
    eprintln!("{USAGE}");
    std::process::exit(2)
}

/// Prints the rows of one workload.
fn measure(work: &Arc<Workload>, options: &Options, random: &mut Random) {
    let (repetitions, long) = match options.is_short {
        true => (5, Duration::from_millis(2)),
        false => (15, Duration::from_millis(8)),
    };
    let mut entries: Vec<Entry> = peers::ALL.iter().flat_map(|jobs| jobs(work)).collect();
    entries.retain(|(name, _)| name.contains(&options.only));
    let passes: Vec<u32> = entries
        .iter_mut()
        .map(|entry| {
            check(work, entry);
            calibrate(entry, long)
        })
        .collect();
    let mut samples = vec![Vec::new(); entries.len()];
    for _ in 0..repetitions {
        for i in shuffled(entries.len(), random) {
            let elapsed = time(&mut entries[i], passes[i]);
            let units = work.units as f64 * f64::from(passes[i]);
            samples[i].push(elapsed.as_nanos() as f64 / units);
        }
    }
    for ((name, _), samples) in entries.iter().zip(samples) {
        row(work.suite, &work.name, name, work.unit, samples);
    }
    for entry in entries
        .iter_mut()
        .filter(|(name, _)| !name.starts_with("raw"))
    {
        count(work, entry);
    }
}

/// What the job reads, writes and allocates.
fn count(work: &Workload, (name, job): &mut Entry) {
    const PASSES: usize = 4;
    let counts = counts::of(|| (0..PASSES).for_each(|_| job()));
    for (count, what) in counts.into_iter().zip(counts::NAMES) {
        let workload = format!("{}: {what}", work.name);
        let unit = work.unit.replace("ns", what);
        let each = count as f64 / (PASSES * work.units) as f64;
        row("codec counts", &workload, name, &unit, vec![each]);
    }
}

fn row(suite: &str, workload: &str, contestant: &str, unit: &str, samples: Vec<f64>) {
    let row = Row {
        suite: suite.into(),
        workload: workload.into(),
        contestant: contestant.into(),
        unit: unit.into(),
        higher_is_better: false,
        samples,
    };
    row.print();
}

/// How many passes take so long.
fn calibrate(entry: &mut Entry, long: Duration) -> u32 {
    let mut passes = 1;
    loop {
        let elapsed = time(entry, passes);
        if elapsed * 2 >= long || passes >= 1 << 24 {
            let each = elapsed.as_nanos() / u128::from(passes);
            return (long.as_nanos() / each.max(1)).clamp(1, 1 << 24) as u32;
        }
        passes *= 2;
    }
}

fn time((_, job): &mut Entry, passes: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..passes {
        job();
    }
    start.elapsed()
}

fn shuffled(len: usize, random: &mut Random) -> Vec<usize> {
    let mut order: Vec<_> = (0..len).collect();
    for i in (1..len).rev() {
        order.swap(i, random.below(i as u64 + 1) as usize);
    }
    order
}

/// Makes sure that everyone refuses a text that is not UTF-8: a job that does so panics.
fn check_validation() {
    let work = Arc::new(workload::invalid_text());
    let hook = std::panic::take_hook();
    for (name, mut job) in peers::ALL.iter().flat_map(|jobs| jobs(&work)) {
        if name.starts_with("raw") {
            continue;
        }
        std::panic::set_hook(Box::new(|_| {}));
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut job)).is_err();
        let _ = std::panic::take_hook();
        assert!(refused, "{name} takes any text");
    }
    std::panic::set_hook(hook);
}

/// Makes sure that the job does what it is measured for: every message is received as it was sent,
/// every reply and every Pong can be received again.
fn check(work: &Workload, (name, job): &mut Entry) {
    if name.starts_with("raw") {
        return;
    }
    // Several times, since some answer a Ping only when they have to wait.
    let (received, mut written) = wire::observe(|| (0..4).for_each(|_| job()));
    let receives = matches!(work.task, Task::Receive | Task::Echo);
    if receives {
        assert!(
            received.len() >= work.payloads.len(),
            "{name}: messages are missing"
        );
        for (received, sent) in received.iter().zip(work.payloads.iter().cycle()) {
            assert!(received == sent, "{name}: {} came wrong", work.name);
        }
    }
    let role = match work.task {
        Task::SendAsClient => Role::Server,
        Task::SendAsServer | Task::Receive | Task::Echo => Role::Client,
    };
    let config = wsroom::protocol::Config::default().max_message_size(workload::MAX_MESSAGE);
    let mut reader = Connection::new(role, Agreed::default(), config);
    let mut input = &mut written[..];
    let (mut messages, mut pongs) = (0, 0);
    while let Some(event) = reader
        .receive(&mut input)
        .expect("what was written is legal")
    {
        let (is_text, payload) = match &event {
            Event::Text(text) => (true, text.as_bytes()),
            Event::Binary(payload) => (false, &payload[..]),
            Event::Pong { .. } => {
                pongs += 1;
                continue;
            }
            other => panic!("{name}: {other:?} was written"),
        };
        let sent = &work.payloads[messages % work.payloads.len()];
        assert!(
            payload == sent && is_text == work.is_text,
            "{name}: {} went wrong",
            work.name
        );
        messages += 1;
    }
    if work.task != Task::Receive {
        assert!(
            messages >= work.payloads.len(),
            "{name}: {messages} messages were written"
        );
    }
    if work.unit == "ns/ping" {
        assert!(pongs > 0, "{name}: no Ping was answered");
    }
}
