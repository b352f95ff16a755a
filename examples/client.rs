//! A client for the terminal.
//!
//! ```text
//! cargo run --release --example client -- ws://127.0.0.1:9002/
//! ```
//!
//! It sends each line that is typed, prints what comes, and says how the connection ended. The end
//! of the input (Ctrl-D) closes with 1000.

use std::error::Error;

use tokio::io::{AsyncBufReadExt, BufReader};
use wsroom::{CloseCode, CloseFrame, CloseInfo, Message, Session};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("usage: client URL")?;
    let socket = wsroom::connect(&url).await?;
    eprintln!("connected to {url}");
    let mut session = Session::spawn(socket);

    let outbox = session.outbox().clone();
    tokio::spawn(async move {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if outbox.queue(line).await.is_err() {
                return;
            }
        }
        outbox.close(CloseFrame::from(CloseCode::NORMAL));
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
        eprintln!("close code {}", CloseInfo::code(&info));
    }
    outcome?;
    // The thread that reads the terminal cannot be interrupted.
    std::process::exit(0);
}
