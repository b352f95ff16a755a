//! Every row of `tests/data/frames.md`: exact events, exact answer, however the bytes are cut.

mod common {
    pub(crate) mod answers;
    pub(crate) mod events;
    pub(crate) mod frames;
    pub(crate) mod judge;
    pub(crate) mod output;
    pub(crate) mod table;
}

use common::answers::connection_with;
use common::events::{OwnedEvent, receive};
use common::frames::frame_to;
use common::judge::{Expected, cuts, run, with_random_keys};
use common::table::{Row, config, rows};
use rand::SeedableRng;
use rand::rngs::StdRng;
use wsroom::{Connection, Role};

/// F1 to F9, F11, G1 to G4, G6, G7, T1 to T4, P1, C1 to C4, C7, F10 (server), F12 (server),
/// G5 (server), P3 (server), C6 (server).
#[test]
fn every_row_gives_its_result_however_it_is_cut() {
    let mut random = StdRng::seed_from_u64(1);
    for row in judged_rows() {
        run(&row, &row.bytes, 200, &mut random, connect);
    }
}

/// M1.
#[test]
fn every_row_gives_its_result_with_a_random_key() {
    let mut random = StdRng::seed_from_u64(2);
    let mut rekeyed = 0;
    for row in judged_rows() {
        let bytes = with_random_keys(&row.bytes, &mut random);
        if row.role == Role::Server && bytes != row.bytes {
            run(&row, &bytes, 20, &mut random, connect);
            rekeyed += 1;
        }
    }
    assert!(
        rekeyed > 80,
        "{rekeyed} rows have a key that does not matter"
    );
}

#[test]
fn every_row_gives_its_result_behind_a_valid_message() {
    let mut random = StdRng::seed_from_u64(3);
    for mut row in judged_rows() {
        let hello = frame_to(row.role, 0x82, b"valid");
        row.bytes.splice(0..0, hello);
        let mut expected = Expected::parse(row.expected, row.role);
        expected
            .events
            .insert(0, OwnedEvent::Binary(b"valid".into()));
        let cuts = cuts(&row.bytes, 20, &mut random);
        for pieces in cuts {
            expected.check(&row, connect(&row), pieces);
        }
    }
}

/// L2, rows I01 to I05: what 100,000 frames leave behind is bounded.
#[test]
fn floods_leave_a_bounded_output() {
    let floods: Vec<Row> = rows().into_iter().filter(is_bounded).collect();
    assert_eq!(floods.len(), 5);
    for row in floods {
        let mut connection = connect(&row);
        let mut events = 0;
        for piece in row.bytes.chunks(16 << 10) {
            let outcomes = receive(&mut connection, [piece]);
            assert!(outcomes.iter().all(Result::is_ok), "{}", row.id);
            events += outcomes.len();
            assert!(connection.output_len() <= (64 << 10) + 131, "{}", row.id);
        }
        assert_eq!(events, 100_000, "{}", row.id);
        let is_ping = row.bytes[0] == 0x89;
        assert_eq!(connection.output_len() > 0, is_ping, "{}", row.id);
    }
}

fn connect(row: &Row) -> Connection {
    connection_with(row.role, config())
}

fn judged_rows() -> impl Iterator<Item = Row> {
    rows().into_iter().filter(|row| !is_bounded(row))
}

fn is_bounded(row: &Row) -> bool {
    row.expected.starts_with("bounded")
}
