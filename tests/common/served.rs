//! A server as its users have it, and a client that can be as rude as it likes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Workshop;

/// What takes longer hangs.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Between the parts of a form.
const BOUNDARY: &str = "----a-boundary-of-a-form";

/// A folder with a finished run `run`.
pub(crate) static WORKSHOP: LazyLock<Workshop> = LazyLock::new(|| {
    let workshop = Workshop::shared();
    workshop.train("run", &super::UNMEASURED).success();
    workshop
});

/// A server of the run that `PIXELLLM_RUN` names, or of that in [`WORKSHOP`].
pub(crate) fn served() -> Served {
    let chosen = std::env::var("PIXELLLM_RUN");
    LazyLock::force(&WORKSHOP);
    Served::start(&WORKSHOP, chosen.as_deref().unwrap_or("run"), &[])
}

/// A server that runs.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Served {
    /// `pixelllm serve RUN` at a free port.
    pub(crate) fn start(workshop: &Workshop, run: &str, arguments: &[&str]) -> Self {
        let mut command = workshop.command();
        command.args(["serve", run, "--port", "0"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("http://").and_then(|rest| rest.split('/').next());
        let address = address.unwrap_or_else(|| panic!("{line:?}")).parse().unwrap();
        Self { child, address }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < TIMEOUT, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.address, TIMEOUT).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream
    }

    /// Sends `bytes` as they are.
    pub(crate) fn send(&self, bytes: &[u8]) -> Response {
        let mut stream = self.connect();
        // Who is refused may be so before all was said.
        let _ = stream.write_all(bytes);
        Response::read(&mut stream)
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.send(&self.head("GET", path, &[]))
    }

    /// The head of a request, with the headers that any client sends.
    pub(crate) fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        (head + "\r\n").into_bytes()
    }

    pub(crate) fn post(&self, path: &str, kind: &str, body: &[u8]) -> Response {
        self.send(&self.posted(path, kind, body))
    }

    /// The bytes of a `POST`.
    pub(crate) fn posted(&self, path: &str, kind: &str, body: &[u8]) -> Vec<u8> {
        let length = body.len().to_string();
        let headers = [("Content-Type", kind), ("Content-Length", length.as_str())];
        [self.head("POST", path, &headers), body.to_vec()].concat()
    }

    /// Asks about an image with a form, as the page does.
    pub(crate) fn ask(&self, path: &str, image: &[u8], request: &str) -> Response {
        let fields = [("image", image), ("request", request.as_bytes())];
        self.post(path, &form_type(), &form(&fields))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn form_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

/// A form of files.
pub(crate) fn form(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, bytes) in fields {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// An answer; of a connection that was closed without one the status is 0.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// All that the server says until it closes.
    pub(crate) fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A connection that is reset has said what it had to say.
        let _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else {
            return Self { status: 0, headers: BTreeMap::new(), body: bytes };
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_string())
        };
        let headers: BTreeMap<_, _> = lines.map(header).collect();
        let body = &bytes[end + 4..];
        let is_chunked = headers.get("transfer-encoding").is_some_and(|value| value == "chunked");
        let body = if is_chunked { dechunked(body) } else { body.to_vec() };
        Self { status, headers, body }
    }

    pub(crate) fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It went well.
    #[track_caller]
    pub(crate) fn success(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// It was refused with this status and code, and said what to do.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> &Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.headers["content-type"], "application/json");
        let error = &self.json()["error"];
        assert_eq!(error["code"], code, "{error}");
        for key in ["message", "help"] {
            assert!(error[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {error}");
        }
        self
    }

    /// The server-sent events, by their names.
    pub(crate) fn events(&self) -> Vec<(String, Value)> {
        let text = String::from_utf8(self.body.clone()).unwrap();
        let event = |block: &str| {
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            let data = serde_json::from_str(field("data: ").unwrap()).unwrap();
            (field("event: ").unwrap().to_string(), data)
        };
        text.split("\n\n").filter(|block| !block.is_empty()).map(event).collect()
    }
}

fn dechunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
    body
}

/// A PNG of one colour.
pub(crate) fn png(width: u32, height: u32, shade: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = image::GrayImage::from_pixel(width, height, image::Luma([shade]));
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}
