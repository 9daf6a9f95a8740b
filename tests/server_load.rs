//! `serve` under load, and under requests that are none: `cargo test --release --test server_load --
//! --ignored --nocapture`. It takes a few minutes; what it measures is in `docs/benchmarks.md`.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use common::served::{Served, WORKSHOP, form, form_type, png, served};

const IMAGE: &str = "world/images/test/000200000001.png";
const CLIENTS: usize = 16;
const DURATION: Duration = Duration::from_secs(60);
const MALFORMED: usize = 10_000;
/// How much more memory the server may have afterwards than once it was warm, in MiB.
const GROWTH_MIB: f64 = 64.0;

fn image() -> Vec<u8> {
    std::fs::read(WORKSHOP.path(IMAGE)).unwrap()
}

/// What the server has in memory, in MiB, and its threads.
fn memory(server: &Served) -> (f64, usize) {
    let text = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let number = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    (number("VmRSS:") / 1024.0, number("Threads:") as usize)
}

/// Open files of the server.
fn open_files(server: &Served) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count()
}

/// Something to ask of an image.
fn question(random: &mut ChaCha8Rng) -> (&'static str, &'static str) {
    *[
        ("/api/narrate", "{}"),
        ("/api/narrate/stream", "{}"),
        ("/api/describe", r#"{"box": [0.1, 0.2, 0.8, 0.9]}"#),
        ("/api/describe/stream", r#"{"points": [[0.5, 0.5]]}"#),
        ("/api/locate", r#"{"text": "the red star"}"#),
    ]
    .choose(random)
    .unwrap()
}

fn warm(server: &Served) -> (f64, usize, usize) {
    for shade in 0..20 {
        assert_eq!(server.ask("/api/narrate", &png(64, 48, shade), "{}").status, 200);
    }
    thread::sleep(Duration::from_secs(1));
    let (mib, threads) = memory(server);
    (mib, threads, open_files(server))
}

/// Afterwards it answers, and has what it had.
fn is_as_before(server: &Served, (mib, threads, files): (f64, usize, usize)) {
    // Connections linger for a moment.
    thread::sleep(Duration::from_secs(3));
    assert_eq!(server.ask("/api/narrate", &image(), "{}").status, 200);
    thread::sleep(Duration::from_secs(3));
    let (after, threads_after) = memory(server);
    let files_after = open_files(server);
    println!("memory {mib:.1} -> {after:.1} MiB, threads {threads} -> {threads_after}");
    println!("open files {files} -> {files_after}");
    assert!(after < mib + GROWTH_MIB);
    assert_eq!((threads_after, files_after), (threads, files));
}

#[test]
#[ignore = "takes a minute of all cores"]
fn sixteen_clients_for_a_minute_are_answered_or_told_to_wait() {
    let server = served();
    let before = warm(&server);
    let busy = AtomicUsize::new(0);
    let begun = Instant::now();
    let times: Vec<Duration> = thread::scope(|scope| {
        let (server, busy) = (&server, &busy);
        let client = |seed: u64| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut times = Vec::new();
            while begun.elapsed() < DURATION {
                let (path, request) = question(&mut random);
                let image = png(64, 48, random.random());
                let asked = Instant::now();
                let answer = server.ask(path, &image, request);
                match answer.status {
                    200 => times.push(asked.elapsed()),
                    503 => {
                        answer.refused(503, "busy");
                        busy.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => panic!("{path}: {answer:?}"),
                }
            }
            times
        };
        let clients: Vec<_> =
            (0..CLIENTS as u64).map(|seed| scope.spawn(move || client(seed))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let mut sorted = times;
    sorted.sort();
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{} answers, {:.0} a second, {} told to wait; median {:.1} ms, 99 in 100 within {:.1} ms, all within {:.1} ms",
        sorted.len(),
        sorted.len() as f64 / DURATION.as_secs_f64(),
        busy.into_inner(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    is_as_before(&server, before);
}

/// Bytes that are no request, or none that can be answered.
fn malformed(server: &Served, bomb: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    let (path, request) = question(random);
    let (image, form_type) = (image(), form_type());
    let whole = form(&[("image", &image), ("request", request.as_bytes())]);
    let scrambled = |bytes: &[u8], random: &mut ChaCha8Rng| {
        let mut bytes = bytes.to_vec();
        for _ in 0..random.random_range(1..20) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        bytes
    };
    match random.random_range(0..9) {
        // Truncated, with its length as it is and as it was.
        0 => server.posted(path, &form_type, &whole[..random.random_range(0..whole.len())]),
        1 => {
            let bytes = server.posted(path, &form_type, &whole);
            bytes[..random.random_range(1..bytes.len())].to_vec()
        }
        // Types that lie.
        2 => server.posted(path, "application/json", &whole),
        3 => server.posted(path, ["text/plain", "image/png", ""].choose(random).unwrap(), &whole),
        // JSON that is none, or nothing that is meant.
        4 => {
            let json = format!(r#"{{"image": "AAAA", "request": {request}}}"#);
            server.posted(path, "application/json", &scrambled(json.as_bytes(), random))
        }
        5 => {
            let deep = "[".repeat(random.random_range(1..5000));
            server.posted(path, "application/json", deep.as_bytes())
        }
        // Images that are none, broken, or bombs.
        6 => {
            let image = scrambled(&image, random);
            server.posted(path, &form_type, &form(&[("image", &image), ("request", b"[]")]))
        }
        7 => server.posted(path, &form_type, &form(&[("image", bomb)])),
        // No HTTP at all.
        _ => scrambled(&server.posted(path, &form_type, &whole), random),
    }
}

#[test]
#[ignore = "takes a few minutes"]
fn ten_thousand_malformed_requests_leave_the_server_as_it_was() {
    let server = served();
    let before = warm(&server);
    let bomb = png(16_000, 16_000, 0);
    let counts: Vec<AtomicUsize> = (0..6).map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        for seed in 0..CLIENTS as u64 {
            let (server, bomb, counts) = (&server, &bomb, &counts);
            scope.spawn(move || {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                for _ in 0..MALFORMED / CLIENTS {
                    let mut stream = server.connect();
                    let bytes = malformed(server, bomb, &mut random);
                    let _ = std::io::Write::write_all(&mut stream, &bytes);
                    // It is over: a truncated request is not waited for.
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                    let answer = common::served::Response::read(&mut stream);
                    assert_ne!(answer.status, 500, "{answer:?}");
                    counts[usize::from(answer.status / 100)].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let counts: Vec<_> = counts.into_iter().map(AtomicUsize::into_inner).collect();
    println!(
        "{} requests; closed without an answer {}, 2xx {}, 4xx {}, 5xx (503 and 504) {}",
        counts.iter().sum::<usize>(),
        counts[0],
        counts[2],
        counts[4],
        counts[5]
    );
    is_as_before(&server, before);
}
