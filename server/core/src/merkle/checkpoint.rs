//! The head of a log as text (C2SP, "Transparency Log Checkpoints"): who, how many leaves, which root.

use data_encoding::BASE64;

use super::Hash;

/// What a log says of itself at one time. Signed, it is a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: a name without spaces and line ends.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// Over all of them.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed: three lines.
    pub fn text(&self) -> String {
        let root = BASE64.encode(&self.root);
        format!("{}\n{}\n{root}\n", self.origin, self.size)
    }

    /// Reads such a text. Lines after the third are extensions and are passed over.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let [origin, size, root] = [lines.next()?, lines.next()?, lines.next()?];
        let is_canonical = size == "0" || !size.starts_with(['0', '+']);
        let root = BASE64.decode(root.as_bytes()).ok()?;
        if origin.is_empty() || !is_canonical || lines.any(str::is_empty) {
            return None;
        }
        Some(Self {
            origin: origin.to_owned(),
            size: size.parse().ok()?,
            root: root.try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_three_lines_and_nothing_malformed() {
        let checkpoint = Checkpoint {
            origin: "example.com/behind-the-sofa".into(),
            size: 20_852_163,
            root: [7; 32],
        };
        let text = checkpoint.text();
        assert_eq!(Checkpoint::parse(&text), Some(checkpoint.clone()));
        assert_eq!(
            Checkpoint::parse(&format!("{text}more\n")),
            Some(checkpoint)
        );
        for bad in [
            text.trim_end().to_owned(),
            format!("{text}\n"),
            text.replace("20852163", "020852163"),
            text.replace("20852163", "+1"),
            text.replace("Bwc", "Bw"),
            text.replace("example.com/behind-the-sofa", ""),
        ] {
            assert_eq!(Checkpoint::parse(&bad), None, "{bad}");
        }
    }
}
