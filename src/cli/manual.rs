//! A command's manual is the `//!` of its source file; this turns it into the text of `--help` and the man page.
//!
//! Paragraphs become one line each, for the terminal to wrap; fenced blocks are indented and keep their lines.

/// The manual in a source file.
pub(super) fn of(source: &str) -> String {
    let mut text = String::new();
    let mut is_fenced = false;
    let mut is_paragraph = false;
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    for line in lines.map(|line| line.strip_prefix(' ').unwrap_or(line)) {
        if line.starts_with("```") {
            is_fenced = !is_fenced;
            is_paragraph = false;
            continue;
        }
        if is_fenced {
            text.push_str("\n    ");
            text.push_str(line);
            continue;
        }
        if line.is_empty() {
            text.push('\n');
            is_paragraph = false;
            continue;
        }
        text.push(if is_paragraph { ' ' } else { '\n' });
        text.push_str(line);
        is_paragraph = true;
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_joined_and_transcripts_kept() {
        let source = "//! One\n//! two.\n//!\n//! ```text\n//! $ a\n//!   b\n//! ```\n//!\n//! Three.\n\nuse x;\n//! not this\n";
        assert_eq!(of(source), "One two.\n\n    $ a\n      b\n\nThree.");
    }
}
