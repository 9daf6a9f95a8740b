//! What every page has around its content: one file that loads nothing, with its style inside.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// What the browser may load: nothing that is not in the page.
const SECURITY_POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
                               script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A page with `content`, and the script that it needs, if any.
pub(super) fn frame(title: &str, content: Markup, script: Option<&'static str>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(SECURITY_POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                // Style and script are our own files, not a user's: nothing to escape.
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body {
                main { (content) }
                @if let Some(script) = script { script { (PreEscaped(script)) } }
            }
        }
    }
}
