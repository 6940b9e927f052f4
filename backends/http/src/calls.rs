//! The tool calls of one choice, as an upstream streams them, brought into the node's order: each named
//! once, with an id of its own, and numbered from 0.

use kwaainet_core::{BackendError, CallDelta, CallStart, random_id};

use crate::chunk::WireCall;
use crate::upstream::failed;

/// Calls of one answer. More are no answer.
const CALLS_MAX: usize = 1_024;

/// Follows the calls of one choice.
#[derive(Clone, Default)]
pub(crate) struct Calls {
    /// The upstream's own number and id of each call that has begun.
    begun: Vec<(Option<u32>, Option<String>)>,
}

impl Calls {
    /// Whether there was any.
    pub(crate) fn any(&self) -> bool {
        !self.begun.is_empty()
    }

    /// A piece of a call in our words.
    ///
    /// # Errors
    /// When it begins a call without naming a tool, or there are too many.
    pub(crate) fn take(&mut self, choice: u32, call: WireCall) -> Result<CallDelta, BackendError> {
        let function = call.function.unwrap_or_default();
        let id = call.id.filter(|id| !id.is_empty());
        let arguments = function.arguments.unwrap_or_default();
        if let Some(index) = self.known(call.index, id.as_deref()) {
            return Ok(CallDelta {
                choice,
                index: index as u32,
                start: None,
                arguments,
            });
        }
        let name = function.name.filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| failed("it called a tool without naming it"))?;
        if self.begun.len() == CALLS_MAX {
            return Err(failed("it called too many tools"));
        }
        self.begun.push((call.index, id.clone()));
        Ok(CallDelta {
            choice,
            index: self.begun.len() as u32 - 1,
            start: Some(CallStart {
                id: id.unwrap_or_else(|| format!("call_{}", random_id())),
                name,
            }),
            arguments,
        })
    }

    /// The call that goes on: the one of this number, or of this id where servers do not number. A
    /// number that comes again with another id is another call: some servers number all of them 0.
    fn known(&self, number: Option<u32>, id: Option<&str>) -> Option<usize> {
        let same = |(known, known_id): &(Option<u32>, Option<String>)| match (number, id) {
            (None, None) => true,
            (None, Some(id)) => known_id.as_deref() == Some(id),
            (Some(_), Some(id)) if known_id.is_some() => {
                *known == number && known_id.as_deref() == Some(id)
            }
            (Some(_), _) => *known == number,
        };
        self.begun.iter().rposition(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(calls: &mut Calls, json: &str) -> Result<(u32, Option<CallStart>, String), String> {
        let call = serde_json::from_str(json).expect("it is a call");
        let delta = calls.take(0, call).map_err(|error| error.to_string())?;
        Ok((delta.index, delta.start, delta.arguments))
    }

    fn start(id: &str, name: &str) -> Option<CallStart> {
        Some(CallStart {
            id: id.into(),
            name: name.into(),
        })
    }

    #[test]
    fn calls_are_named_once_and_go_on() {
        let mut calls = Calls::default();
        let first =
            r#"{"index":0,"id":"x","type":"function","function":{"name":"a","arguments":""}}"#;
        assert_eq!(take(&mut calls, first), Ok((0, start("x", "a"), "".into())));
        for more in [
            r#"{"index":0,"function":{"arguments":"{}"}}"#,
            r#"{"index":0,"id":"x","function":{"name":"a","arguments":"{}"}}"#,
            r#"{"index":0,"id":"","function":{"name":null,"arguments":"{}"}}"#,
            r#"{"function":{"arguments":"{}"}}"#,
        ] {
            assert_eq!(take(&mut calls, more), Ok((0, None, "{}".into())), "{more}");
        }
        let second = r#"{"index":1,"id":"y","function":{"name":"b","arguments":"1"}}"#;
        assert_eq!(
            take(&mut calls, second),
            Ok((1, start("y", "b"), "1".into()))
        );
    }

    #[test]
    fn calls_that_are_not_numbered_are_told_apart_by_their_ids() {
        let mut calls = Calls::default();
        for (index, id) in ["x", "y"].into_iter().enumerate() {
            let whole = format!(r#"{{"id":"{id}","function":{{"name":"a","arguments":"{{}}"}}}}"#);
            let expected = (index as u32, start(id, "a"), "{}".into());
            assert_eq!(take(&mut calls, &whole), Ok(expected));
        }
        let same_number = r#"{"index":0,"id":"z","function":{"name":"a"}}"#;
        let third = take(&mut calls, same_number).expect("it is another call");
        assert_eq!((third.0, third.1), (2, start("z", "a")));
    }

    #[test]
    fn a_call_has_a_name_and_gets_an_id() {
        let mut calls = Calls::default();
        let nameless = take(&mut calls, r#"{"index":0,"id":"x","function":{}}"#);
        assert!(nameless.is_err_and(|error| error.contains("naming")));
        assert!(!calls.any());
        let (_, started, _) =
            take(&mut calls, r#"{"function":{"name":"a"}}"#).expect("it is a call");
        assert!(started.is_some_and(|start| start.id.len() > 20));
    }
}
