//! How families of models write calls: one table.

/// One way to write calls.
#[derive(Debug)]
pub(crate) struct Family {
    name: &'static str,
    /// Templates of the family spell one of these.
    spelled: &'static [&'static str],
    /// What a call stands between; the first is the one to write.
    pub(super) marks: &'static [Mark],
    /// A call may stand without marks where a text begins, and is written so.
    pub(super) bare: bool,
    /// What is written around each call within its marks.
    pub(super) inner: &'static str,
    /// Calls are written as a list within one pair of marks.
    pub(super) list: bool,
    /// The name stands before this mark, and behind it are the arguments alone.
    pub(super) named: Option<&'static str>,
    /// What stands between a call's end and the next.
    pub(super) between: &'static str,
    /// How the arguments are called. Both usual names are read.
    pub(super) arguments: &'static str,
    /// Templates want ids of so many letters and digits.
    id_len: Option<usize>,
}

/// What a call stands between. No beginning is the beginning of another one.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) open: &'static str,
    /// Empty where calls end with their JSON.
    pub(super) close: &'static str,
}

const TAGS: &[Mark] = &[Mark {
    open: "<tool_call>",
    close: "</tool_call>",
}];

/// Of models whose template says nothing that is known here. Many were trained with these tags.
static GENERIC: Family = Family {
    name: "generic",
    ..generic()
};

/// The first whose spelling is found counts.
static FAMILIES: [Family; 6] = [
    // Newer ones of Mistral: [TOOL_CALLS]name[ARGS]{...}
    Family {
        name: "mistral-named",
        spelled: &["[ARGS]"],
        marks: &[Mark {
            open: "[TOOL_CALLS]",
            close: "",
        }],
        named: Some("[ARGS]"),
        between: "",
        id_len: Some(9),
        ..generic()
    },
    // Older ones: [TOOL_CALLS][{"name": ..., "arguments": {...}}, ...]
    Family {
        name: "mistral",
        spelled: &["[TOOL_CALLS]"],
        marks: &[Mark {
            open: "[TOOL_CALLS]",
            close: "",
        }],
        list: true,
        id_len: Some(9),
        ..generic()
    },
    // Hermes, Qwen 2.5 and 3.
    Family {
        name: "hermes",
        spelled: &["<tool_call>"],
        inner: "\n",
        ..generic()
    },
    Family {
        name: "granite",
        spelled: &["<|tool_call|>"],
        marks: &[Mark {
            open: "<|tool_call|>",
            close: "",
        }],
        list: true,
        ..generic()
    },
    // Llama 3: {"name": ..., "parameters": {...}}
    Family {
        name: "llama",
        spelled: &["<|python_tag|>", "<|start_header_id|>"],
        marks: &[Mark {
            open: "<|python_tag|>",
            close: "",
        }],
        bare: true,
        between: "; ",
        arguments: "parameters",
        ..generic()
    },
    // Gemma: the same, often within a fence.
    Family {
        name: "gemma",
        spelled: &["<start_of_turn>"],
        marks: &[
            Mark {
                open: "```json",
                close: "```",
            },
            Mark {
                open: "```tool_call",
                close: "```",
            },
        ],
        bare: true,
        between: "\n",
        arguments: "parameters",
        ..generic()
    },
];

/// What calls look like that are no JSON, so that our own way is asked for instead.
const UNREADABLE: [&str; 2] = ["<parameter=", "<start_function_call>"];

const fn generic() -> Family {
    Family {
        name: "",
        spelled: &[],
        marks: TAGS,
        bare: false,
        inner: "",
        list: false,
        named: None,
        between: "\n",
        arguments: "arguments",
        id_len: None,
    }
}

impl Family {
    /// The family that a template's spelling shows.
    pub(crate) fn of(template: &str) -> &'static Self {
        let spells = |words: &[&str]| words.iter().any(|word| template.contains(word));
        if spells(&UNREADABLE) {
            return &GENERIC;
        }
        let family = FAMILIES.iter().find(|family| spells(family.spelled));
        family.unwrap_or(&GENERIC)
    }

    /// Whether its calls are those that the template asks for.
    pub(crate) fn is_known(&self) -> bool {
        !self.spelled.is_empty()
    }

    /// For logs.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Letters and digits in an id, where templates count them.
    pub(crate) fn id_len(&self) -> Option<usize> {
        self.id_len
    }

    /// What stands before a call that is written.
    pub(super) fn open(&self) -> &'static str {
        match self.marks.first() {
            Some(mark) if !self.bare => mark.open,
            _ => "",
        }
    }

    /// What stands behind it.
    pub(super) fn close(&self) -> &'static str {
        match self.marks.first() {
            Some(mark) if !self.bare => mark.close,
            _ => "",
        }
    }

    /// All that a model may spell with a control token of its own.
    pub(crate) fn spellings(&self) -> impl Iterator<Item = &'static str> {
        let marks = self.marks.iter().flat_map(|mark| [mark.open, mark.close]);
        marks.chain(self.named).filter(|mark| !mark.is_empty())
    }
}

#[cfg(test)]
pub(super) fn named(name: &str) -> &'static Family {
    let all = FAMILIES.iter().chain([&GENERIC]);
    all.into_iter()
        .find(|family| family.name == name)
        .expect("there is such a family")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_shows_its_family() {
        for (template, name) in [
            ("[TOOL_CALLS]{{ name }}[ARGS]", "mistral-named"),
            ("[INST]{{ x }}[TOOL_CALLS]", "mistral"),
            ("<|im_start|><tool_call>", "hermes"),
            (
                "<|im_start|><tool_call><function=f><parameter=a>",
                "generic",
            ),
            ("<|start_of_role|><|tool_call|>", "granite"),
            ("<|start_header_id|>", "llama"),
            ("<start_of_turn>", "gemma"),
            ("<|im_start|>", "generic"),
        ] {
            assert_eq!(Family::of(template).name, name, "{template}");
        }
    }

    #[test]
    fn no_mark_begins_another() {
        for family in &FAMILIES {
            for (at, mark) in family.marks.iter().enumerate() {
                let others = family.marks.iter().skip(at + 1);
                for other in others {
                    assert!(!mark.open.starts_with(other.open), "{}", family.name);
                    assert!(!other.open.starts_with(mark.open), "{}", family.name);
                }
            }
        }
    }
}
