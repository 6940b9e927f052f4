//! A whole request, from the domain to its opening message and back.

use std::borrow::Cow;
use std::time::Duration;

use kwaainet_core::{
    EmbedInput, GenerateParams, ModelDigest, ModelId, Numerics, Prompt, Resume, Tokenized,
};

use super::asks::{self, Open, open};
use super::{Bad, array, at_most, list, needed, params, prompt};

const MODEL_BYTES_MAX: usize = 256;
const NUMERICS_BYTES_MAX: usize = 64;
const INPUTS_MAX: usize = 4_096;
/// Tokens of a choice that has no bound of its own.
const RESUMED_MAX: usize = 1 << 20;

/// What an asker wants.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The asker's own name for it.
    pub(crate) id: [u8; 16],
    /// How long it may take from now on, in milliseconds.
    pub(crate) budget: Duration,
    pub(crate) model: ModelId,
    /// The file that the model has to be, if the asker knows it.
    pub(crate) digest: Option<ModelDigest>,
    /// Which bits have to be computed, if the asker knows it.
    pub(crate) numerics: Option<Numerics>,
    /// Tells the asker's principals apart and says nothing else of them.
    pub(crate) scope: [u8; 16],
    /// Whether somebody else was asked before, so that only a place is to be kept.
    pub(crate) tied: bool,
    pub(crate) work: Wanted,
}

#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    Generate {
        prompt: Prompt,
        params: Box<GenerateParams>,
        resume: Option<Resume>,
    },
    Embed {
        inputs: Vec<EmbedInput>,
        dimensions: Option<u32>,
    },
    Tokenize(Tokenized),
    Detokenize(Vec<u32>),
}

pub(crate) fn write(request: Request) -> Open {
    let work = match request.work {
        Wanted::Generate {
            prompt,
            params,
            resume,
        } => open::Work::Generate(Box::new(asks::Generate {
            prompt: Some(prompt::write(prompt)),
            params: Some(params::write(*params)),
            resume: resume.map(write_resume),
        })),
        Wanted::Embed { inputs, dimensions } => open::Work::Embed(asks::Embed {
            inputs: list::write(inputs.into_iter().map(prompt::write_input)),
            dimensions,
        }),
        Wanted::Tokenize(Tokenized::Text {
            text,
            add_special,
            parse_special,
        }) => open::Work::TokenizeText(asks::TokenizeText {
            text,
            add_special,
            parse_special,
        }),
        Wanted::Tokenize(Tokenized::Chat(chat)) => {
            open::Work::TokenizeChat(prompt::write_chat(chat))
        }
        Wanted::Detokenize(ids) => open::Work::Detokenize(asks::Ids { ids }),
    };
    Open {
        request: request.id.to_vec(),
        budget_ms: request.budget.as_millis() as u64,
        model: request.model.as_str().to_owned(),
        digest: request.digest.map(|digest| digest.0.to_vec()),
        numerics: request.numerics.map(|class| class.0.into_owned()),
        scope: request.scope.to_vec(),
        tied: request.tied,
        work: Some(work),
    }
}

pub(crate) fn read(open: Open) -> Result<Request, Bad> {
    at_most(open.model.len(), MODEL_BYTES_MAX, "model")?;
    let class = open.numerics.as_ref();
    at_most(class.map_or(0, String::len), NUMERICS_BYTES_MAX, "numerics")?;
    if open.budget_ms == 0 {
        return Err(Bad::new("budget_ms", "there is no time left"));
    }
    let digest = open.digest.map(|digest| array(&digest, "digest"));
    Ok(Request {
        id: array(&open.request, "request")?,
        budget: Duration::from_millis(open.budget_ms),
        model: ModelId::new(open.model),
        digest: digest.transpose()?.map(ModelDigest),
        numerics: open.numerics.map(|class| Numerics(Cow::Owned(class))),
        scope: array(&open.scope, "scope")?,
        tied: open.tied,
        work: read_work(needed(open.work, "work")?)?,
    })
}

fn read_work(work: open::Work) -> Result<Wanted, Bad> {
    Ok(match work {
        open::Work::Generate(generate) => {
            let params = params::read(needed(generate.params, "params")?)?;
            let resume = generate.resume.map(|resume| read_resume(resume, &params));
            Wanted::Generate {
                prompt: prompt::read(needed(generate.prompt, "prompt")?)?,
                resume: resume.transpose()?,
                params: Box::new(params),
            }
        }
        open::Work::Embed(embed) => {
            let inputs = list::read(&embed.inputs, INPUTS_MAX, "input")?;
            let inputs = inputs.into_iter().map(prompt::read_input);
            Wanted::Embed {
                inputs: inputs.collect::<Result<_, _>>()?,
                dimensions: embed.dimensions,
            }
        }
        open::Work::TokenizeText(text) => Wanted::Tokenize(Tokenized::Text {
            text: text.text,
            add_special: text.add_special,
            parse_special: text.parse_special,
        }),
        open::Work::TokenizeChat(chat) => {
            Wanted::Tokenize(Tokenized::Chat(prompt::read_chat(chat)?))
        }
        open::Work::Detokenize(ids) => Wanted::Detokenize(ids.ids),
    })
}

fn write_resume(resume: Resume) -> asks::Resume {
    let choices = resume.choices.into_iter().map(|ids| asks::Ids { ids });
    asks::Resume {
        choices: list::write(choices),
    }
}

/// As many choices as are asked for, none longer than it may be.
fn read_resume(resume: asks::Resume, params: &GenerateParams) -> Result<Resume, Bad> {
    let choices = list::read(&resume.choices, usize::from(params.n), "resume")?;
    if choices.len() != usize::from(params.n) {
        return Err(Bad::new("resume", "not as many choices as there are"));
    }
    let max = params.max_tokens.map_or(RESUMED_MAX, |max| max as usize);
    let choices = choices.into_iter().map(|choice: asks::Ids| {
        at_most(choice.ids.len(), max, "resume")?;
        Ok(choice.ids)
    });
    Ok(Resume {
        choices: choices.collect::<Result<_, Bad>>()?,
    })
}
