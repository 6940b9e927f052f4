use std::sync::Mutex;

use futures_util::stream;
use tokio::time::Instant;

use super::*;
use crate::{
    BackendId, BackendReport, BoxFuture, EmbedRequest, Embeddings, GenerateParams, ModelId,
    PrincipalId, Prompt, Reserved, TextTokens, Tokenized,
};

const MS: Duration = Duration::from_millis(1);
const LATE: Duration = Duration::from_millis(30);

/// Answers after a while, and writes down what becomes of it.
struct Slow {
    id: BackendId,
    /// Until it has a place, and until it says so with the first event.
    place: Duration,
    begins: Duration,
    refuses: bool,
    log: &'static Mutex<Vec<String>>,
}

/// Is written down when it is dropped.
struct Asked(BackendId, &'static Mutex<Vec<String>>);

impl Drop for Asked {
    fn drop(&mut self) {
        note(self.1, format!("{} stopped", self.0));
    }
}

fn note(log: &Mutex<Vec<String>>, what: String) {
    log.lock().expect("no holder panics").push(what);
}

impl Slow {
    async fn work(&self) -> Result<EventStream, BackendError> {
        sleep(self.begins).await;
        note(self.log, format!("{} works", self.id));
        Ok(Box::pin(stream::empty()))
    }

    async fn wait(&self) -> Result<(), BackendError> {
        sleep(self.place).await;
        let reason = "no".into();
        match self.refuses {
            true => Err(BackendError::Upstream { reason }),
            false => Ok(()),
        }
    }
}

impl Backend for Slow {
    fn id(&self) -> &BackendId {
        &self.id
    }

    fn report(&self) -> BackendReport {
        BackendReport::default()
    }

    fn generate(&self, _: GenerateRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        Box::pin(async {
            let asked = Asked(self.id.clone(), self.log);
            self.wait().await?;
            let events = self.work().await;
            std::mem::forget(asked);
            events
        })
    }

    fn reserve(&self, _: GenerateRequest) -> BoxFuture<'_, Result<Reserved<'_>, BackendError>> {
        Box::pin(async {
            note(self.log, format!("{} asked", self.id));
            let asked = Asked(self.id.clone(), self.log);
            self.wait().await?;
            Ok(Box::pin(async {
                let events = self.work().await;
                std::mem::forget(asked);
                events
            }) as Reserved<'_>)
        })
    }

    fn embed(&self, _: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        unreachable!("nothing is embedded here")
    }

    fn tokenize(
        &self,
        _: ModelId,
        _: Tokenized,
    ) -> BoxFuture<'_, Result<TextTokens, BackendError>> {
        unreachable!("nothing is tokenized here")
    }

    fn detokenize(&self, _: ModelId, _: Vec<u32>) -> BoxFuture<'_, Result<String, BackendError>> {
        unreachable!("nothing is detokenized here")
    }
}

/// Two that take so many milliseconds for a place; what came of it, what they did, and when.
async fn race(first: (u32, bool), second: (u32, bool)) -> (By, bool, Vec<String>, Duration) {
    let log: &'static Mutex<Vec<String>> = Box::leak(Box::default());
    let slow = |id: &str, (place, refuses): (u32, bool)| Slow {
        id: id.into(),
        place: MS * place,
        begins: MS,
        refuses,
        log,
    };
    let (one, two) = (slow("a", first), slow("b", second));
    let request = || GenerateRequest {
        model: "m".into(),
        prompt: Prompt::Text("x".into()),
        params: GenerateParams::default(),
        owner: PrincipalId::operator(),
        resume: None,
    };
    let began = Instant::now();
    let (by, answer) = ask(&one, &two, request, LATE).await;
    let log = log.lock().expect("no holder panics").clone();
    (by, answer.is_ok(), log, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn while_the_first_answers_in_time_nobody_else_hears_of_it() {
    let (by, is_ok, log, took) = race((10, false), (0, false)).await;
    assert_eq!((by, is_ok, took), (By::First, true, MS * 11));
    assert_eq!(log, ["a works"]);
    let (by, is_ok, log, _) = race((10, true), (0, false)).await;
    assert_eq!((by, is_ok), (By::First, false));
    assert_eq!(log, ["a stopped"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_place_is_taken_and_the_other_one_stopped_before() {
    let (by, is_ok, log, took) = race((900, false), (20, false)).await;
    assert_eq!((by, is_ok, took), (By::Second, true, LATE + MS * 21));
    assert_eq!(log, ["b asked", "a stopped", "b works"]);
    let (by, is_ok, log, took) = race((40, false), (500, false)).await;
    assert_eq!((by, is_ok, took), (By::First, true, MS * 41));
    assert_eq!(log, ["b asked", "a works", "b stopped"]);
}

#[tokio::test(start_paused = true)]
async fn a_second_that_has_no_place_changes_nothing() {
    let (by, is_ok, log, took) = race((900, false), (20, true)).await;
    assert_eq!((by, is_ok, took), (By::First, true, MS * 901));
    assert_eq!(log, ["b asked", "b stopped", "a works"]);
    let (by, is_ok, log, _) = race((40, true), (500, false)).await;
    assert_eq!((by, is_ok), (By::First, false));
    assert_eq!(log, ["b asked", "a stopped", "b stopped"]);
}
