//! wsroom, with its plain API.

use std::pin::Pin;

use tokio::net::TcpStream;
use wsroom::net::{Answers, accept_with};
use wsroom::{Config, Event, Hub, Session, Upgrade, WebSocket};

use super::{Ended, MAX_MESSAGE};

async fn accept(stream: TcpStream) -> Result<WebSocket<TcpStream>, wsroom::Error> {
    let config = Config::default().max_message_size(MAX_MESSAGE);
    accept_with(stream, &Upgrade::default(), config).await
}

/// `recv` and `feed`, as in the crate's example of an echo server.
pub async fn feed(stream: TcpStream) -> Ended {
    let mut socket = accept(stream).await?;
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}

/// `recv_each`, with answers copied from where the messages lie.
pub async fn each(stream: TcpStream) -> Ended {
    let mut socket = accept(stream).await?;
    let echo = |event: Event<'_>, answers: &mut Answers<'_>| {
        // Refused only once the connection is closed, which ends the loop.
        let _ = match event {
            Event::Text(text) => answers.send_text(&text),
            Event::Binary(payload) => answers.send_binary(&payload),
            _ => Ok(()),
        };
    };
    Ok(socket.recv_each(echo).await?)
}

/// `recv` and `send`: each message is written before the next is taken.
pub async fn send(stream: TcpStream) -> Ended {
    let mut socket = accept(stream).await?;
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// A `Session` with `send`, which may be called from anywhere.
pub async fn session(stream: TcpStream) -> Ended {
    let mut session = Session::spawn(accept(stream).await?);
    while let Some(message) = session.recv().await? {
        session.send(message).await?;
    }
    Ok(())
}

/// A `Session` that is a member of a room with all others, and echoes to its own client.
pub fn in_a_room() -> impl Fn(TcpStream) -> Pin<Box<dyn Future<Output = Ended> + Send>> {
    let hub = Hub::new();
    move |stream| {
        let hub = hub.clone();
        Box::pin(async move {
            let mut session = Session::spawn(accept(stream).await?);
            let member = hub.attach(session.outbox().clone());
            member.join("everyone")?;
            while let Some(message) = session.recv().await? {
                session.send(message).await?;
            }
            Ok(())
        })
    }
}
