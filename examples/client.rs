//! A client for the terminal.
//!
//! ```text
//! cargo run --release --example client -- ws://127.0.0.1:9002/
//! ```
//!
//! It sends each line that is typed, prints what comes, and says how the connection ended. The end
//! of the input (Ctrl-D) closes with 1000.

use std::error::Error;

use tokio::runtime::Handle;
use wsroom::{CloseCode, Message, Session};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("usage: client URL")?;
    let socket = wsroom::connect(&url).await?;
    eprintln!("connected to {url}");
    let mut session = Session::spawn(socket);

    let outbox = session.outbox().clone();
    let runtime = Handle::current();
    // A thread, because a read of the terminal cannot be interrupted: it ends with the program.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if runtime.block_on(outbox.send(line)).is_err() {
                return;
            }
        }
        outbox.close(CloseCode::NORMAL);
    });

    let outcome = loop {
        match session.recv().await {
            Ok(Some(Message::Text(text))) => println!("{text}"),
            Ok(Some(Message::Binary(bytes))) => println!("({} bytes)", bytes.len()),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    if let Some(info) = session.closed().await {
        eprintln!("{info}");
        eprintln!("close code {}", info.code());
    }
    Ok(outcome?)
}
