//! What the network in memory does to the bytes of its links.

use std::future::pending;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};
use wsroom::test_util::{Endpoint, Faults, Network, simulate};

const MS: Duration = Duration::from_millis(1);

/// A link on which nothing happens by chance.
fn quiet() -> (Endpoint, Endpoint) {
    Network::seeded(1).pair()
}

/// What arrives within a time.
async fn arrives(stream: &mut Endpoint, within: Duration) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = timeout(within, stream.read_to_end(&mut bytes)).await;
    bytes
}

#[test]
fn what_is_written_arrives_in_order_on_a_link_that_loses_nothing() {
    simulate(0..200, async |network| {
        network.set_faults(Faults::lossless());
        let (mut client, mut server) = network.pair();
        let sent: Vec<u8> = (0..network.draw(0..20_000)).map(|i| i as u8).collect();
        let expected = sent.clone();
        let echo = tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(&mut server);
            tokio::io::copy(&mut read, &mut write).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let (mut read, mut write) = tokio::io::split(&mut client);
        let send = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let mut back = Vec::new();
        let (_, read) = tokio::join!(send, read.read_to_end(&mut back));
        read.unwrap();
        assert!(back == expected);
        echo.await.unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn bytes_are_under_way_for_the_latency() {
    let network = Network::seeded(1);
    network.set_faults(Faults::none().latency(70 * MS..=70 * MS));
    let (mut client, mut server) = network.pair();
    let start = Instant::now();
    client.write_all(b"hello").await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    let mut bytes = [0; 5];
    server.read_exact(&mut bytes).await.unwrap();
    assert_eq!(start.elapsed(), 70 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_writer_waits_for_the_reader_once_the_link_is_full() {
    let (mut client, mut server) = quiet();
    let link = client.link();
    link.set_faults(Faults::none().capacity(10));
    assert!(timeout(MS, client.write_all(&[7; 25])).await.is_err());
    assert_eq!(link.to_server().in_flight(), 10);
    let reading = tokio::spawn(async move {
        let mut bytes = [0; 20];
        server.read_exact(&mut bytes).await.unwrap();
        server
    });
    client.write_all(&[7; 20]).await.unwrap();
    let _server = reading.await.unwrap();
    assert_eq!(link.to_server().in_flight(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_stall_holds_one_direction_back_until_it_is_healed() {
    let (mut client, mut server) = quiet();
    let link = client.link();
    client.write_all(b"before").await.unwrap();
    link.to_server().stall();
    client.write_all(b"after").await.unwrap();
    server.write_all(b"back").await.unwrap();
    assert_eq!(arrives(&mut client, MS).await, b"back");
    assert_eq!(arrives(&mut server, 1_000 * MS).await, b"before");
    link.heal();
    assert_eq!(arrives(&mut server, MS).await, b"after");
}

/// A half-open connection: silence, and no error until nothing can be written any more.
#[tokio::test(start_paused = true)]
async fn nothing_passes_a_cut_and_nobody_is_told() {
    let (mut client, mut server) = quiet();
    let link = client.link();
    link.set_faults(Faults::none().capacity(10));
    server.write_all(b"arrived").await.unwrap();
    link.cut();
    client.write_all(b"vanishes").await.unwrap();
    client.shutdown().await.unwrap();
    link.heal();
    let hour = Duration::from_secs(3600);
    assert_eq!(arrives(&mut client, hour).await, b"arrived");
    drop(client);
    link.reset();
    assert!(timeout(hour, server.read_u8()).await.is_err());
    let written = timeout(hour, server.write_all(&[7; 25])).await;
    assert!(written.is_err(), "the link was full");
}

#[test]
fn a_reset_fails_both_ends_and_may_lose_what_had_arrived() {
    let mut survived = 0;
    simulate(0..50, async |network| {
        let (mut client, mut server) = network.pair();
        client.write_all(b"arrived").await.unwrap();
        client.link().reset();
        let mut bytes = Vec::new();
        let error = server.read_to_end(&mut bytes).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(bytes.is_empty() || bytes == b"arrived");
        survived += usize::from(!bytes.is_empty());
        let first = server.write_all(b"x").await.unwrap_err();
        let second = server.write_all(b"x").await.unwrap_err();
        let told = [first.kind(), second.kind()];
        assert_eq!(told, [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe]);
        let error = client.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(client.shutdown().await.is_err());
    });
    assert!((10..40).contains(&survived), "{survived} of 50");
}

#[test]
fn a_reset_loses_what_is_under_way() {
    simulate(0..20, async |network| {
        network.set_faults(Faults::none().latency(50 * MS..=50 * MS));
        let (mut client, mut server) = network.pair();
        client.write_all(b"arrives").await.unwrap();
        sleep(40 * MS).await;
        client.write_all(b"does not").await.unwrap();
        sleep(20 * MS).await;
        client.link().reset();
        sleep(100 * MS).await;
        let mut bytes = Vec::new();
        assert!(server.read_to_end(&mut bytes).await.is_err());
        assert!(bytes.is_empty() || bytes == b"arrives");
    });
}

/// Who is gone answers what arrives, and so not before it does.
#[tokio::test(start_paused = true)]
async fn an_end_that_is_gone_resets_when_something_arrives() {
    let (mut client, mut server) = quiet();
    let link = client.link();
    link.set_faults(Faults::none().stalls(1.0, 500 * MS..=500 * MS));
    client.write_all(b"x").await.unwrap();
    link.set_faults(Faults::none());
    server.read_u8().await.unwrap();
    drop(server);
    client.write_all(b"held back").await.unwrap();
    sleep(400 * MS).await;
    client.write_all(b"held back too").await.unwrap();
    sleep(200 * MS).await;
    let error = client.write_all(b"late").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn a_link_may_end_in_the_middle_of_what_is_written() {
    let network = Network::seeded(3);
    network.set_faults(Faults::none().ends(1.0));
    let (mut client, mut server) = network.pair();
    let error = client.write_all(&[7; 1_000]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    let mut bytes = Vec::new();
    server.read_to_end(&mut bytes).await.unwrap();
    assert!((1..1_000).contains(&bytes.len()), "{}", bytes.len());
    let error = server.write_all(b"x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_dropped_is_read_to_its_end() {
    let (mut client, server) = quiet();
    let mut server = server;
    server.write_all(b"last").await.unwrap();
    drop(server);
    assert_eq!(arrives(&mut client, MS).await, b"last");
    // The first write finds out, the second is told.
    client.write_all(b"x").await.unwrap();
    let error = client.write_all(b"x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_dropped_with_something_unread_resets_the_link() {
    let (mut client, server) = quiet();
    client.write_all(b"unread").await.unwrap();
    drop(server);
    let error = client.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn clients_reach_the_listener_of_a_name() {
    let network = Network::seeded(1);
    let refused = network.connect("chat").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let mut listener = network.listen("chat").unwrap();
    let in_use = network.listen("chat").unwrap_err();
    assert_eq!(in_use.kind(), ErrorKind::AddrInUse);
    for i in 0..200_u8 {
        let network = network.clone();
        tokio::spawn(async move {
            let mut client = network.connect("chat").await.unwrap();
            client.write_all(&[i]).await.unwrap();
            sleep(MS).await;
        });
    }
    for i in 0..200 {
        let mut server = listener.accept().await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), i);
    }
    drop(listener);
    assert!(network.connect("chat").await.is_err());
    assert!(network.listen("chat").is_ok(), "another may come");
}

/// A failure is worth what its seed is: the run that fails is the one that is named, and a run that
/// waits for ever fails.
#[test]
fn a_run_that_panics_or_gets_stuck_fails_the_simulation() {
    let mut seeds = Vec::new();
    let failed = catch_unwind(AssertUnwindSafe(|| {
        simulate(0..10, async |network| {
            seeds.push(network.seed());
            assert!(network.seed() < 3, "on purpose");
        });
    }));
    assert!(failed.is_err());
    assert_eq!(seeds, [0, 1, 2, 3]);
    assert!(catch_unwind(|| simulate([1], async |_| pending().await)).is_err());
}
