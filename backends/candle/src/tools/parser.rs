//! Finds calls in a text that comes in pieces.
//!
//! What could be the beginning of a call is held back until it is clear whether it is one; from its
//! name on, a call is passed on as it comes. What only looked like a call goes out as text. The text
//! is taken letter by letter, so that it does not matter how it is cut.

use std::collections::VecDeque;
use std::sync::Arc;

use super::family::{Family, Mark};
use super::reader::{Reader, Step};

/// What is held back of something that may become a call, in bytes.
const HELD_BYTES_MAX: usize = 32 << 10;
/// White space that is dropped if a call follows it, in bytes.
const SPACES_MAX: usize = 64;

/// A name that stands before its arguments, with what may stand around it, in bytes.
const HEADER_BYTES_MAX: usize = 256;

/// What a text comes to. In the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    /// A call of this function begins.
    Call(String),
    /// More of its arguments: JSON.
    Arguments(String),
    /// It is whole.
    Whole,
    /// So many bytes are no text: they belong to a call, or stand around one.
    Silence(usize),
}

/// The text of one choice.
#[derive(Debug)]
pub(crate) struct Parser {
    family: &'static Family,
    /// What is read as the beginning of a call, besides what stands bare.
    marks: &'static [Mark],
    names: Arc<[String]>,
    state: State,
    input: VecDeque<char>,
    /// White space that may stand before a call.
    spaces: String,
    /// Whether there was text since the beginning, or since the last call.
    said: bool,
    /// Calls that have begun, and that are whole.
    begun: u32,
    whole: u32,
    out: Vec<Piece>,
}

#[derive(Debug)]
enum State {
    /// With what may become a mark.
    Text(String),
    Call(Candidate),
    /// A call's JSON is over. With what may become the mark behind it.
    Behind {
        close: &'static str,
        held: String,
    },
}

/// What may be a call.
#[derive(Debug)]
struct Candidate {
    close: &'static str,
    /// What is not passed on, the mark included.
    held: String,
    /// Bytes of it that are text if it is no call; the rest is looked at again.
    head: usize,
    /// A name that stands before its arguments.
    name: Option<String>,
    reader: Option<Reader>,
    /// A call of it is being passed on.
    is_open: bool,
    /// It has had one.
    had_call: bool,
}

impl Parser {
    /// Reads calls of these functions. With `written_only`, only those that are written as the grammar
    /// of a forced call writes them.
    pub(crate) fn new(family: &'static Family, names: Arc<[String]>, written_only: bool) -> Self {
        let marks = match (written_only, family.bare) {
            (false, _) => family.marks,
            (true, true) => &[],
            (true, false) => &family.marks[..1],
        };
        Self {
            family,
            marks,
            names,
            state: State::Text(String::new()),
            input: VecDeque::new(),
            spaces: String::new(),
            said: false,
            begun: 0,
            whole: 0,
            out: Vec::new(),
        }
    }

    /// Calls that are whole.
    pub(crate) fn whole(&self) -> u32 {
        self.whole
    }

    /// Takes the next piece.
    pub(crate) fn push(&mut self, text: &str) -> Vec<Piece> {
        self.input.extend(text.chars());
        self.run();
        std::mem::take(&mut self.out)
    }

    /// Gives out what is held back, when the text has ended.
    pub(crate) fn finish(&mut self) -> Vec<Piece> {
        loop {
            match std::mem::replace(&mut self.state, State::Text(String::new())) {
                State::Text(tail) => {
                    tail.chars().for_each(|c| self.speak(c));
                    let spaces = std::mem::take(&mut self.spaces);
                    if self.begun > 0 && !self.said {
                        self.silence(spaces.len());
                    } else {
                        self.text(&spaces);
                    }
                    return std::mem::take(&mut self.out);
                }
                State::Call(candidate) if candidate.is_open || candidate.is_between() => {
                    self.silence(candidate.held.len());
                }
                State::Call(candidate) => {
                    self.reject(candidate);
                    self.run();
                }
                State::Behind { held, .. } => self.silence(held.len()),
            }
        }
    }

    fn run(&mut self) {
        while let Some(c) = self.input.pop_front() {
            match std::mem::replace(&mut self.state, State::Text(String::new())) {
                State::Text(tail) => self.in_text(tail, c),
                State::Call(candidate) => self.in_call(candidate, c),
                State::Behind { close, held } => self.behind(close, held, c),
            }
        }
    }

    fn in_text(&mut self, mut tail: String, c: char) {
        if tail.is_empty() && self.family.bare && !self.said && matches!(c, '{' | '[') {
            return self.in_call(Candidate::new("", String::new()), c);
        }
        tail.push(c);
        loop {
            if let Some(mark) = self.marks.iter().find(|mark| mark.open == tail) {
                self.state = State::Call(Candidate::new(mark.close, tail));
                return;
            }
            if tail.is_empty() || self.marks.iter().any(|mark| mark.open.starts_with(&tail)) {
                self.state = State::Text(tail);
                return;
            }
            let first = tail.remove(0);
            self.speak(first);
        }
    }

    /// Says a letter that is text.
    fn speak(&mut self, c: char) {
        if !c.is_whitespace() {
            let spaces = std::mem::take(&mut self.spaces);
            self.text(&spaces);
            self.text(c.encode_utf8(&mut [0; 4]));
            self.said = true;
            return;
        }
        if self.begun > 0 && !self.said {
            return self.silence(c.len_utf8());
        }
        self.spaces.push(c);
        while self.spaces.len() > SPACES_MAX {
            let first = self.spaces.remove(0);
            self.text(first.encode_utf8(&mut [0; 4]));
        }
    }

    fn in_call(&mut self, mut candidate: Candidate, c: char) {
        if !candidate.is_open {
            candidate.held.push(c);
        }
        let step = match &mut candidate.reader {
            Some(reader) => reader.push(c, &self.names),
            None => return self.before_json(candidate, c),
        };
        match step {
            Ok(step) if candidate.is_open => {
                self.silence(c.len_utf8());
                self.pass_on(candidate, step);
            }
            Ok(step) if candidate.held.len() <= HELD_BYTES_MAX => self.pass_on(candidate, step),
            // It is too late to take the call back. It stays without an end.
            _ if candidate.is_open => self.input.push_front(c),
            _ => self.reject(candidate),
        }
    }

    /// Between the mark and the JSON.
    fn before_json(&mut self, mut candidate: Candidate, c: char) {
        if let Some(end) = self.family.named {
            let name = candidate.name.get_or_insert_default();
            name.push(c);
            if let Some(name) = name.strip_suffix(end) {
                // Some put an id behind the name, in brackets of its own.
                let name = name.split('[').next().unwrap_or_default().trim();
                if self.names.iter().any(|known| known == name) {
                    candidate.reader = Some(Reader::of_arguments(name.to_owned()));
                    self.state = State::Call(candidate);
                } else {
                    self.reject(candidate);
                }
                return;
            }
            if name.len() <= HEADER_BYTES_MAX {
                self.state = State::Call(candidate);
            } else {
                self.reject(candidate);
            }
            return;
        }
        if matches!(c, '{' | '[') {
            let mut reader = Reader::of_calls();
            match reader.push(c, &self.names) {
                Ok(_) => {
                    candidate.reader = Some(reader);
                    // Without a mark, its bracket is what is said first if it is no call.
                    candidate.head = candidate.head.max(1);
                    self.state = State::Call(candidate);
                }
                Err(_) => self.reject(candidate),
            }
        } else if c.is_whitespace() && candidate.held.len() <= HELD_BYTES_MAX {
            self.state = State::Call(candidate);
        } else {
            self.reject(candidate);
        }
    }

    fn pass_on(&mut self, mut candidate: Candidate, step: Step) {
        if let Some(name) = step.begins {
            let spaces = std::mem::take(&mut self.spaces);
            let held = candidate.forget();
            self.silence(spaces.len() + held);
            self.out.push(Piece::Call(name));
            (candidate.is_open, candidate.had_call) = (true, true);
            self.begun += 1;
            self.said = false;
        }
        self.arguments(step.arguments);
        if step.ends {
            self.out.push(Piece::Whole);
            candidate.is_open = false;
            self.whole += 1;
        }
        let reader = candidate.reader.as_ref();
        let is_over = reader.is_some_and(Reader::is_over);
        if is_over && !candidate.had_call {
            return self.reject(candidate);
        }
        if is_over || candidate.is_between() {
            self.silence(candidate.forget());
        }
        self.state = if is_over {
            State::Behind {
                close: candidate.close,
                held: String::new(),
            }
        } else {
            State::Call(candidate)
        };
    }

    /// It is no call: says its beginning, and looks at the rest again.
    fn reject(&mut self, candidate: Candidate) {
        let (head, rest) = candidate.held.split_at(candidate.head);
        head.chars().for_each(|c| self.speak(c));
        rest.chars().rev().for_each(|c| self.input.push_front(c));
        self.state = State::Text(String::new());
    }

    /// After a call's JSON: its mark, or one more call.
    fn behind(&mut self, close: &'static str, mut held: String, c: char) {
        if held.is_empty() && c.is_whitespace() {
            self.silence(c.len_utf8());
            self.state = State::Behind { close, held };
            return;
        }
        let separated = held.starts_with([',', ';']);
        held.push(c);
        if !close.is_empty() && close == held {
            return self.silence(held.len());
        }
        let may_separate = separated && c.is_whitespace() && held.len() <= SPACES_MAX;
        let holds = !close.is_empty() && close.starts_with(&held);
        if holds || may_separate || held == "," || held == ";" {
            self.state = State::Behind { close, held };
            return;
        }
        let is_next = c == '{' && (separated || held.len() == 1) && self.family.named.is_none();
        if is_next {
            held.pop();
            let candidate = Candidate::new(close, held);
            return self.in_call(candidate, c);
        }
        held.chars().rev().for_each(|c| self.input.push_front(c));
    }

    fn text(&mut self, text: &str) {
        match self.out.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(before)) => before.push_str(text),
            _ => self.out.push(Piece::Text(text.to_owned())),
        }
    }

    fn arguments(&mut self, text: String) {
        match self.out.as_mut_slice() {
            _ if text.is_empty() => {}
            [.., Piece::Arguments(before), Piece::Silence(_)] | [.., Piece::Arguments(before)] => {
                before.push_str(&text);
            }
            _ => self.out.push(Piece::Arguments(text)),
        }
    }

    fn silence(&mut self, bytes: usize) {
        match self.out.last_mut() {
            _ if bytes == 0 => {}
            Some(Piece::Silence(before)) => *before += bytes,
            _ => self.out.push(Piece::Silence(bytes)),
        }
    }
}

impl Candidate {
    /// Behind this mark, or whatever stands before its JSON.
    fn new(close: &'static str, mark: String) -> Self {
        Self {
            close,
            head: mark.len(),
            held: mark,
            name: None,
            reader: None,
            is_open: false,
            had_call: false,
        }
    }

    /// Forgets what is held; says how many bytes that was.
    fn forget(&mut self) -> usize {
        self.head = 0;
        std::mem::take(&mut self.held).len()
    }

    fn is_between(&self) -> bool {
        self.had_call && self.reader.as_ref().is_some_and(Reader::is_between)
    }
}
