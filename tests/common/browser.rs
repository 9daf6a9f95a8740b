//! Chromium without a window, spoken to through its DevTools protocol over a pipe: messages are JSON,
//! each ended by a zero byte. Nothing but the browser and a shell is needed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Where distributions put it.
const NAMES: [&str; 4] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/usr/bin/google-chrome-stable",
];
/// What takes longer hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    last_id: u64,
    /// What pages wrote to their console as errors, and what they did not catch.
    pub(crate) complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts it, and opens `url` in a window of `width × height` pixels.
    pub(crate) fn open(url: &str, width: u32, height: u32) -> Self {
        let chosen = std::env::var("CHROMIUM").ok();
        let found = NAMES.iter().find(|name| Path::new(name).exists()).map(ToString::to_string);
        let program = chosen.or(found).unwrap_or_else(|| {
            panic!("no Chromium among {NAMES:?}: install it, or say in CHROMIUM where it is")
        });
        let profile = tempfile::tempdir().unwrap();
        // Chromium reads from the file 3 and writes to the file 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", &program])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--remote-debugging-pipe", "--no-first-run", "--force-prefers-reduced-motion"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut browser = Self {
            child,
            to,
            from: BufReader::new(from),
            session: None,
            last_id: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().map(str::to_string);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.resize(width, height, false);
        browser.call("Page.navigate", json!({"url": url}));
        browser
    }

    /// Makes the window `width × height` pixels, dark or light.
    pub(crate) fn resize(&mut self, width: u32, height: u32, dark: bool) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// Calls a method of the protocol.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.to.write_all(message.to_string().as_bytes()).unwrap();
        self.to.write_all(&[0]).unwrap();
        loop {
            let mut bytes = Vec::new();
            self.from.read_until(0, &mut bytes).unwrap();
            assert_eq!(bytes.pop(), Some(0), "the browser has ended: is it able to run here?");
            let answer: Value = serde_json::from_slice(&bytes).unwrap();
            if answer["id"] == self.last_id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            let is_complaint = match answer["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Log.entryAdded") => answer["params"]["entry"]["level"] == "error",
                _ => false,
            };
            if is_complaint {
                self.complaints.push(answer["params"].to_string());
            }
        }
    }

    /// The value of an expression of the page, which may be a promise.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression holds.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, expression: &str) {
        let begun = Instant::now();
        while self.evaluate(&format!("Boolean({expression})")) != true {
            if begun.elapsed() > TIMEOUT {
                let text = self.evaluate("document.body.innerText");
                panic!("{expression} does not come true:\n{text}\n{:?}", self.complaints);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The text of the first element of a selector.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let value = self.evaluate(&format!("document.querySelector('{selector}').textContent"));
        value.as_str().unwrap().to_string()
    }

    /// Left, top, width and height of the first element of a selector, in pixels of the window.
    pub(crate) fn place(&mut self, selector: &str) -> [f64; 4] {
        let expression = format!(
            "(({{x, y, width, height}}) => [x, y, width, height])\
             (document.querySelector('{selector}').getBoundingClientRect())"
        );
        let value = self.evaluate(&expression);
        let number = |index: usize| value[index].as_f64().unwrap();
        [number(0), number(1), number(2), number(3)]
    }

    fn mouse(&mut self, kind: &str, x: f64, y: f64, buttons: u32) {
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        let event = json!({
            "type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1
        });
        self.call("Input.dispatchMouseEvent", event);
    }

    /// Scrolls to an element, where it is not in the window.
    fn show(&mut self, selector: &str) {
        self.evaluate(&format!(
            "document.querySelector('{selector}').scrollIntoView({{block: 'nearest'}})"
        ));
    }

    /// Moves the pointer to the middle of an element.
    pub(crate) fn point_at(&mut self, selector: &str) {
        self.show(selector);
        let [x, y, width, height] = self.place(selector);
        self.mouse("mouseMoved", x + width / 2.0, y + height / 2.0, 0);
    }

    /// Clicks the middle of an element.
    pub(crate) fn click(&mut self, selector: &str) {
        self.show(selector);
        let [x, y, width, height] = self.place(selector);
        let (x, y) = (x + width / 2.0, y + height / 2.0);
        self.mouse("mouseMoved", x, y, 0);
        self.mouse("mousePressed", x, y, 1);
        self.mouse("mouseReleased", x, y, 0);
    }

    /// Drags over an element, between two places that are shares of it.
    pub(crate) fn drag(&mut self, selector: &str, from: [f64; 2], to: [f64; 2]) {
        let [left, top, width, height] = self.place(selector);
        let at = |[x, y]: [f64; 2]| (left + x * width, top + y * height);
        let ((x0, y0), (x1, y1)) = (at(from), at(to));
        self.mouse("mouseMoved", x0, y0, 0);
        self.mouse("mousePressed", x0, y0, 1);
        for step in 1..=4 {
            let share = f64::from(step) / 4.0;
            self.mouse("mouseMoved", x0 + (x1 - x0) * share, y0 + (y1 - y0) * share, 1);
        }
        self.mouse("mouseReleased", x1, y1, 0);
    }

    /// Presses a key, such as `ArrowRight`; with Shift where `shift`.
    pub(crate) fn press(&mut self, key: &str, shift: bool) {
        let code = match key {
            "Enter" => 13,
            "Tab" => 9,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            other => panic!("the test presses no {other:?}"),
        };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code,
                "text": text, "modifiers": if shift { 8 } else { 0 }
            });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Types into what has the focus.
    pub(crate) fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Drops a file on the page.
    pub(crate) fn drop_file(&mut self, name: &str, kind: &str, bytes: &[u8]) {
        let script = format!(
            "(() => {{
                const bytes = Uint8Array.from(atob('{}'), (character) => character.charCodeAt(0));
                const data = new DataTransfer();
                data.items.add(new File([bytes], '{name}', {{type: '{kind}'}}));
                const options = {{bubbles: true, cancelable: true, dataTransfer: data}};
                document.getElementById('frame').dispatchEvent(new DragEvent('drop', options));
            }})()",
            STANDARD.encode(bytes)
        );
        self.evaluate(&script);
    }

    /// A picture of the window, as PNG.
    pub(crate) fn screenshot(&mut self) -> Vec<u8> {
        let picture = self.call("Page.captureScreenshot", json!({"format": "png"}));
        STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
