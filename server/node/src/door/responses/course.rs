//! The course of a response: generations, one after the other, and the searches that the node makes
//! between them. A model that is told of the search calls it as it calls any function; what is found is
//! its result, and the model goes on. Bounded in rounds and in searches.

use kwaainet_core::{
    AdmissionError, BackendError, Conversation, Footprint, Job, JobError, JobId, MeteredStream,
    Principal, Prompt, ToolMode, Work,
};
use kwaainet_openapi::{
    FileSearchResult, MessagePart, MessageRole, ResponseItem, ResponseObject, SearchStatus,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::context::{self, Said, refused};
use super::kept::Findings;
use super::request::Asked;
use super::run::{Broken, Outlet, generate};
use super::tools::{FILE_SEARCH, FileSearch};
use super::writer::Writer;
use crate::door::vector_stores::find_live;
use crate::door::vector_stores::search::{Wanted, search};
use crate::door::{ApiError, App};

/// How often the model may search before it has to answer.
const ROUNDS_MAX: usize = 4;
/// The part of a context that searches leave for the answer, if the client gave no limit: a quarter.
const ANSWER_PART: u32 = 4;

/// What a response is made from, as far as it has come.
pub(super) struct Course {
    pub(super) principal: Principal,
    asked: Asked,
    said: Said,
    /// Tokens of all generations together.
    max_tokens: Option<u32>,
    /// What the node is to look for before it asks the model.
    first_query: Option<String>,
    rounds_left: usize,
    searches_left: usize,
    found: Findings,
    /// What all generations took of energy, as far as it is known.
    took: Option<Footprint>,
}

impl Course {
    /// Nothing is done yet, but all that the request refers to is there.
    pub(super) async fn new(
        app: &App,
        principal: Principal,
        asked: Asked,
        said: Said,
    ) -> Result<Self, ApiError> {
        if let Some(FileSearch { stores, at, .. }) = &asked.search {
            for id in stores {
                let param = format!("{at}.vector_store_ids");
                let found = find_live(app, &principal, id).await;
                found.map_err(|error| error.renamed("vector_store_id", &param))?;
            }
        }
        let first_query = match asked.searches_first {
            true => Some(last_user_text(&said)?),
            false => None,
        };
        Ok(Self {
            principal,
            max_tokens: asked.params.max_tokens,
            first_query,
            rounds_left: ROUNDS_MAX,
            searches_left: asked.searches_max,
            found: Findings::new(),
            took: None,
            asked,
            said,
        })
    }

    /// A writer for this response.
    pub(super) fn writer(&self, object: ResponseObject) -> Writer {
        let writer = Writer::new(object);
        match self.asked.search {
            Some(_) => writer.with_searches(),
            None => writer,
        }
    }

    /// What comes in with the request.
    pub(super) fn input(&self) -> &[ResponseItem] {
        &self.said.input
    }

    /// What the model was given by searches.
    pub(super) fn found(&self) -> &Findings {
        &self.found
    }

    /// What it took of energy until now, as far as that is known.
    pub(super) fn took(&self) -> Option<Footprint> {
        self.took
    }

    /// The next generation, after this output.
    pub(super) async fn job(&self, app: &App, output: &[ResponseItem]) -> Result<Job, ApiError> {
        let output = self.with_results(output);
        let items: Vec<&ResponseItem> = self.said.all().into_iter().chain(&output).collect();
        let chat = context::prompt(app, &self.principal, &self.asked, &items).await?;
        Ok(Job::new(
            JobId::random(),
            self.asked.model.clone(),
            Work::Generate {
                prompts: vec![Prompt::Chat(chat)],
                params: self.asked.params.clone(),
            },
        )
        .within(self.asked.constraints.clone()))
    }

    /// Begins with this job, or with nothing if the node searches first.
    pub(super) async fn begin(&self, app: &App, job: Job) -> Result<Option<MeteredStream>, Broken> {
        if self.first_query.is_none() {
            return self.start(app, job).await.map(Some);
        }
        // What can be told now is not told later.
        let planned = app.hallway.plan(&self.principal, &job);
        planned.map_err(|error| Broken::Failed(refused(error.into())))?;
        Ok(None)
    }

    async fn start(&self, app: &App, job: Job) -> Result<MeteredStream, Broken> {
        let events = app.hallway.generate(self.principal.clone(), job).await;
        events.map_err(|error| match error {
            JobError::Admission(AdmissionError::Draining) => Broken::Stopped,
            error => Broken::Failed(refused(error)),
        })
    }

    /// Goes on to the end of the response. What is said is told as it comes.
    pub(super) async fn follow(
        &mut self,
        app: &App,
        writer: &mut Writer,
        mut events: Option<MeteredStream>,
        outlet: &Outlet,
        stop: &CancellationToken,
    ) -> Result<(), Broken> {
        loop {
            if let Some(events) = events {
                let place = events.course();
                let generated = generate(app, writer, events, outlet, stop).await;
                let took = place.stages().footprint;
                self.took = match (self.took, took) {
                    (Some(before), Some(took)) => Some(before.plus(took)),
                    (before, took) => before.or(took),
                };
                generated?;
            }
            let queries = self.queries(writer);
            if queries.is_empty() {
                return Ok(());
            }
            let next = async {
                for query in queries {
                    self.search(app, writer, query, outlet).await?;
                }
                self.next(app, writer).await
            };
            events = tokio::select! {
                next = next => next?,
                () = app.cut.cancelled() => return Err(Broken::Stopped),
                () = stop.cancelled() => return Err(Broken::Cancelled),
            };
            if events.is_none() {
                return Ok(());
            }
        }
    }

    /// What is to be looked for now; none in the place of a call that names nothing.
    fn queries(&mut self, writer: &mut Writer) -> Vec<Option<String>> {
        let calls = writer.take_calls();
        let mut queries: Vec<Option<String>> = match self.first_query.take() {
            Some(query) => vec![Some(query)],
            None => calls.iter().map(|arguments| query(arguments)).collect(),
        };
        if self.rounds_left == 0 {
            return Vec::new();
        }
        queries.truncate(self.searches_left);
        self.searches_left -= queries.len();
        self.rounds_left -= 1;
        queries
    }

    /// The next generation; none if the response goes no further.
    async fn next(
        &mut self,
        app: &App,
        writer: &mut Writer,
    ) -> Result<Option<MeteredStream>, Broken> {
        if writer.is_at_its_end() {
            return Ok(None);
        }
        if self.max_tokens.is_some() {
            self.asked.params.max_tokens = self.tokens_left(writer);
            if self.asked.params.max_tokens == Some(0) {
                writer.is_used_up();
                return Ok(None);
            }
        }
        self.asked.searches_first = false;
        self.offer_less();
        let job = self.job(app, &writer.object().output).await;
        let job = job.map_err(Broken::Failed)?;
        self.start(app, job).await.map(Some)
    }

    fn tokens_left(&self, writer: &Writer) -> Option<u32> {
        let used = writer.object().usage.as_ref();
        let used = used.map_or(0, |usage| usage.output_tokens);
        Some(self.max_tokens?.saturating_sub(used))
    }

    /// Who had to call something has done so; who has searched enough is offered no more of it.
    fn offer_less(&mut self) {
        let (tools, choice) = (&mut self.asked.tools, &mut self.asked.tool_choice);
        if choice.mode == ToolMode::Required {
            choice.mode = ToolMode::Auto;
        }
        if self.rounds_left > 0 && self.searches_left > 0 {
            return;
        }
        tools.retain(|tool| tool.name != FILE_SEARCH);
        if let Some(only) = &mut choice.only {
            only.retain(|name| name != FILE_SEARCH);
            if only.is_empty() {
                choice.only = None;
                choice.mode = ToolMode::None;
            }
        }
    }

    async fn search(
        &mut self,
        app: &App,
        writer: &mut Writer,
        query: Option<String>,
        outlet: &Outlet,
    ) -> Result<(), Broken> {
        let id = writer.begin_search(query.iter().cloned().collect());
        outlet.tell(writer).await;
        let found = match query {
            Some(query) => self.look_for(app, query).await?,
            None => None,
        };
        let status = match found {
            Some(_) => SearchStatus::Completed,
            None => SearchStatus::Failed,
        };
        let given = self.give(app, writer, &id, found.unwrap_or_default()).await;
        for result in &given {
            writer.rests_on(&result.file_id, &result.filename);
        }
        let shown = self.asked.shows_results && status == SearchStatus::Completed;
        writer.end_search(status, shown.then_some(given));
        outlet.tell(writer).await;
        Ok(())
    }

    /// What there is; none if it is not to be looked for, which is then for the model to know.
    async fn look_for(
        &self,
        app: &App,
        query: String,
    ) -> Result<Option<Vec<FileSearchResult>>, Broken> {
        let Some(FileSearch { stores, wanted, .. }) = &self.asked.search else {
            return Ok(None);
        };
        let wanted = Wanted {
            queries: vec![query],
            constraints: self.asked.constraints.clone(),
            ..wanted.clone()
        };
        let found = match search(app, &self.principal, stores, &wanted).await {
            Ok(found) => found,
            // The client's own words are at fault; after that, the model's.
            Err(error) if self.asked.searches_first => {
                return Err(Broken::Failed(error.renamed("query", "input")));
            }
            Err(error) if matches!(error.status().as_u16(), 400 | 404) => return Ok(None),
            Err(error) => return Err(Broken::Failed(error)),
        };
        let results = found.into_iter().map(|found| FileSearchResult {
            file_id: found.file_id,
            filename: found.filename,
            score: found.score,
            attributes: found.attributes,
            text: found.text,
        });
        Ok(Some(results.collect()))
    }

    /// Gives the model as many of the results as it has room for, the nearest first.
    async fn give(
        &mut self,
        app: &App,
        writer: &Writer,
        id: &str,
        mut results: Vec<FileSearchResult>,
    ) -> Vec<FileSearchResult> {
        self.found.insert(id.to_owned(), results.clone());
        let (mut low, mut high) = (0, results.len());
        let mut tried = high;
        while low < high {
            self.found.insert(id.to_owned(), results[..tried].to_vec());
            if self.fits(app, writer).await {
                low = tried;
            } else {
                high = tried - 1;
            }
            tried = (low + high).div_ceil(2);
        }
        results.truncate(high);
        self.found.insert(id.to_owned(), results.clone());
        results
    }

    /// Whether there is room for what was said and found, and for an answer. Where tokens cannot be
    /// counted the backend will say so itself.
    async fn fits(&self, app: &App, writer: &Writer) -> bool {
        let output = self.with_results(&writer.object().output);
        let items: Vec<&ResponseItem> = self.said.all().into_iter().chain(&output).collect();
        let chat: Conversation = context::whole(&self.asked, &items);
        match context::count(app, &self.principal, &self.asked, chat).await {
            Ok(Ok(tokens)) => {
                let answer = self.tokens_left(writer);
                let answer = answer.unwrap_or(tokens.context / ANSWER_PART) as usize;
                tokens.ids.len().saturating_add(answer) <= tokens.context as usize
            }
            Ok(Err(BackendError::InputTooLong { .. } | BackendError::ContextOverflow { .. })) => {
                false
            }
            Ok(Err(_)) | Err(_) => true,
        }
    }

    /// The output with what the model was given, which the client need not see.
    fn with_results(&self, output: &[ResponseItem]) -> Vec<ResponseItem> {
        let mut output = output.to_vec();
        for item in &mut output {
            if let ResponseItem::FileSearchCall(search) = item {
                search.results = self.found.get(&search.id).cloned();
            }
        }
        output
    }
}

/// What a call looks for.
fn query(arguments: &str) -> Option<String> {
    let arguments: Value = serde_json::from_str(arguments).ok()?;
    let query = arguments.get("query")?.as_str()?.trim();
    (!query.is_empty()).then(|| query.to_owned())
}

fn last_user_text(said: &Said) -> Result<String, ApiError> {
    let text = said.all().into_iter().rev().find_map(|item| match item {
        ResponseItem::Message(message) if message.role == MessageRole::User => {
            Some(message.content.iter().map(MessagePart::text).collect())
        }
        _ => None,
    });
    text.filter(|text: &String| !text.trim().is_empty())
        .ok_or_else(|| {
            let message = "Invalid 'input': there is no text of the user's to search with.";
            ApiError::invalid("input", "invalid_value", message)
        })
}
