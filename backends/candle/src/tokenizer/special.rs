//! Where special tokens stand in a text. They are found by their spelling, the leftmost first and of
//! those the longest, in time linear in the text.

use aho_corasick::{AhoCorasick, MatchKind};

use super::TextError;
use super::vocab::{Kind, Vocab, bad};

/// The spellings of all special tokens together; Gemma's 6,400 have 90 KB.
const SPELLINGS_BYTES_MAX: usize = 4 << 20;
/// Of one; the longest known have a hundred. The search around a message's end grows with it.
const SPELLING_BYTES_MAX: usize = 1 << 10;

/// A stretch of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fragment<'t> {
    Text(&'t str),
    Token(u32),
}

/// The special tokens of a vocabulary.
pub(super) struct Specials {
    /// Control and user-defined tokens, for texts whose author may use both.
    all: Finder,
    /// User-defined tokens, which every text may hold.
    user_defined: Finder,
    /// Control tokens.
    control: Finder,
    /// The spellings of control tokens, in alphabetical order.
    spellings: Vec<String>,
}

impl Specials {
    pub(super) fn new(vocab: &Vocab) -> Result<Self, TextError> {
        let user_defined = |kind| kind == Kind::UserDefined;
        let mut spellings: Vec<String> = vocab
            .of_kind(Kind::is_special)
            .filter_map(|id| vocab.piece(id).map(str::to_owned))
            .filter(|piece| !piece.is_empty())
            .collect();
        spellings.sort_unstable();
        Ok(Self {
            all: Finder::new(vocab, |kind| kind.is_special() || user_defined(kind))?,
            user_defined: Finder::new(vocab, user_defined)?,
            control: Finder::new(vocab, Kind::is_special)?,
            spellings,
        })
    }

    /// Cuts a text at its special tokens; control tokens count only if `control`.
    pub(super) fn split<'t>(&self, text: &'t str, control: bool) -> Vec<Fragment<'t>> {
        if control {
            self.all.split(text)
        } else {
            self.user_defined.split(text)
        }
    }

    /// The control token of this spelling.
    pub(super) fn control_token(&self, spelling: &str) -> Option<u32> {
        let (start, end, id) = self.control.next(spelling, 0)?;
        (start == 0 && end == spelling.len()).then_some(id)
    }

    /// Where each control token starts that is spelled out in the text, overlapping ones too.
    pub(super) fn control_starts(&self, text: &str) -> Vec<usize> {
        let mut starts = Vec::new();
        let mut at = 0;
        while let Some((start, _, _)) = self.control.next(text, at) {
            starts.push(start);
            at = start + text[start..].chars().next().map_or(1, char::len_utf8);
        }
        starts
    }

    /// Where the text's end starts that could be the beginning of a control token, if what follows
    /// the text went on with it.
    pub(super) fn unfinished_starts(&self, text: &str) -> Vec<usize> {
        let longest = self.spellings.iter().map(String::len).max().unwrap_or(0);
        text.char_indices()
            .rev()
            .map(|(start, _)| start)
            .take_while(|start| text.len() - start < longest)
            .filter(|start| self.is_beginning(&text[*start..]))
            .collect()
    }

    fn is_beginning(&self, tail: &str) -> bool {
        let at = self
            .spellings
            .partition_point(|spelling| spelling.as_str() < tail);
        self.spellings
            .get(at)
            .is_some_and(|spelling| spelling.starts_with(tail))
    }
}

/// Finds a set of tokens by their spelling.
struct Finder {
    ids: Vec<u32>,
    patterns: AhoCorasick,
}

impl Finder {
    fn new(vocab: &Vocab, wanted: impl Fn(Kind) -> bool) -> Result<Self, TextError> {
        let (ids, pieces): (Vec<u32>, Vec<&str>) = vocab
            .of_kind(wanted)
            .filter_map(|id| vocab.piece(id).map(|piece| (id, piece)))
            .filter(|(_, piece)| !piece.is_empty())
            .unzip();
        if pieces.iter().any(|piece| piece.len() > SPELLING_BYTES_MAX) {
            return Err(bad("one of its special tokens is too long"));
        }
        if pieces.iter().map(|piece| piece.len()).sum::<usize>() > SPELLINGS_BYTES_MAX {
            return Err(bad("its special tokens are too long"));
        }
        let patterns = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(pieces)
            .map_err(|error| bad(format!("its special tokens: {error}")))?;
        Ok(Self { ids, patterns })
    }

    /// The next token from `at` on: start, end, id.
    fn next(&self, text: &str, at: usize) -> Option<(usize, usize, u32)> {
        let found = self
            .patterns
            .find(aho_corasick::Input::new(text).range(at..))?;
        Some((
            found.start(),
            found.end(),
            self.ids[found.pattern().as_usize()],
        ))
    }

    fn split<'t>(&self, text: &'t str) -> Vec<Fragment<'t>> {
        let mut fragments = Vec::new();
        let mut at = 0;
        while let Some((start, end, id)) = self.next(text, at) {
            if at < start {
                fragments.push(Fragment::Text(&text[at..start]));
            }
            fragments.push(Fragment::Token(id));
            at = end;
        }
        if at < text.len() {
            fragments.push(Fragment::Text(&text[at..]));
        }
        fragments
    }
}
