//! Tests of downloads from a local server that cuts connections, stalls and sends wrong headers.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use super::*;

const PATIENCE: Patience = Patience {
    attempts: 3,
    attempt: Duration::from_millis(300),
    pause: Duration::from_millis(1),
};

fn content() -> Vec<u8> {
    (0..200_000u32)
        .map(|i| (i.wrapping_mul(i) >> 3) as u8)
        .collect()
}

/// Starts a server that calls `answer` for each request, with the number of the request and the start of
/// its range. Returns the URL.
fn serve(answer: impl Fn(usize, u64, &mut TcpStream) + Send + Sync + 'static) -> String {
    let answer = Arc::new(answer);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/set.tar.gz", listener.local_addr().unwrap());
    // The thread waits for more requests until the process ends.
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut start = 0;
            for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                let line = line.unwrap_or_default().to_lowercase();
                if line.is_empty() {
                    break;
                }
                if let Some(range) = line.strip_prefix("range: bytes=") {
                    start = range.trim_end_matches('-').parse().unwrap();
                }
            }
            let answer = answer.clone();
            thread::spawn(move || answer(number, start, &mut stream));
        }
    });
    url
}

/// Sends the content from `start`, as a correct server would, but at most `bytes` bytes of it.
fn send(stream: &mut TcpStream, start: u64, bytes: usize) {
    let content = content();
    let rest = &content[start as usize..];
    let head = match start {
        0 => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", rest.len()),
        _ => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{}\r\n",
            rest.len(),
            content.len() - 1,
            content.len()
        ),
    };
    // The client may have closed the connection.
    let _ = write!(stream, "{head}Connection: close\r\n\r\n");
    let _ = stream.write_all(&rest[..bytes.min(rest.len())]);
}

fn status(stream: &mut TcpStream, line: &str) {
    let _ = write!(
        stream,
        "HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
}

/// The content of the partial file after a download from `url`, and the download's result.
fn fetched(url: &str, before: &[u8]) -> (Vec<u8>, Result<(), DataError>) {
    let folder = tempfile::tempdir().unwrap();
    let partial = folder.path().join("partial");
    std::fs::write(&partial, before).unwrap();
    let mut seen = 0;
    let result = download(url, &partial, PATIENCE, &mut |bytes, _| seen = bytes);
    let bytes = std::fs::read(&partial).unwrap();
    if result.is_ok() && !before.starts_with(&content()) {
        assert_eq!(seen, bytes.len() as u64);
    }
    (bytes, result)
}

fn arrives(url: &str, before: &[u8]) {
    let (bytes, result) = fetched(url, before);
    result.unwrap();
    assert!(bytes == content());
}

fn refusal(url: &str) -> String {
    fetched(url, &[]).1.unwrap_err().to_string()
}

#[test]
fn a_download_survives_many_cut_connections() {
    let url = serve(|_, start, stream| send(stream, start, 30_000));
    arrives(&url, &[]);
}

#[test]
fn a_stalled_connection_is_closed_and_tried_again() {
    let url = serve(|number, start, stream| {
        send(stream, start, if number == 0 { 50_000 } else { usize::MAX });
        if number == 0 {
            thread::sleep(Duration::from_secs(2));
        }
    });
    arrives(&url, &[]);
}

#[test]
fn a_partial_or_complete_file_of_an_earlier_process_is_used() {
    let url = serve(|_, start, stream| {
        assert_eq!(start, 1234);
        send(stream, start, usize::MAX);
    });
    arrives(&url, &content()[..1234]);
    let url = serve(|_, start, stream| {
        let _ = write!(
            stream,
            "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{start}\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
    });
    arrives(&url, &content());
}

#[test]
fn a_server_without_ranges_sends_the_file_from_its_start() {
    let url = serve(|_, _, stream| send(stream, 0, usize::MAX));
    arrives(&url, b"the start of another file");
}

#[test]
fn wrong_ranges_and_lengths_of_a_server_are_detected() {
    // First the range of another request, then the correct one.
    let url = serve(|number, start, stream| match number {
        0 => send(stream, 99, usize::MAX),
        _ => send(stream, start, usize::MAX),
    });
    arrives(&url, &content()[..500]);
    // A partial file that is longer than the server's file.
    let url = serve(|number, start, stream| match number {
        0 => status(stream, "416 Range Not Satisfiable"),
        _ => send(stream, start, usize::MAX),
    });
    arrives(&url, &[1; 300_000]);
    // The server announces more bytes than it sends.
    let url = serve(|_, start, stream| {
        let size = if start == 0 { 10 } else { 0 };
        let _ = write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\nContent-Length: 1000\r\n\
             Content-Range: bytes {start}-999/1000\r\nConnection: close\r\n\r\n"
        );
        let _ = stream.write_all(&vec![7; size]);
    });
    assert!(refusal(&url).contains("3 attempts in a row received nothing"));
}

#[test]
fn temporary_errors_are_retried_and_lasting_errors_reported() {
    let url = serve(|number, start, stream| match number {
        0 => status(stream, "503 Service Unavailable"),
        1 => status(stream, "429 Too Many Requests"),
        _ => send(stream, start, usize::MAX),
    });
    arrives(&url, &[]);
    let url = serve(|number, _, stream| {
        assert_eq!(number, 0, "requested a missing file again");
        status(stream, "404 Not Found");
    });
    let line = refusal(&url);
    assert!(
        line.contains("set.tar.gz: cannot be fetched: status 404 Not Found"),
        "{line}"
    );
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert!(refusal(&format!("http://{closed}/x")).contains("3 attempts"));
}
