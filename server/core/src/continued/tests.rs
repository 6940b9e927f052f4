use std::collections::VecDeque;
use std::sync::Mutex;

use futures_util::TryStreamExt;

use super::*;
use crate::{
    BackendReport, BoxFuture, Candidate, Constraints, Delta, EmbedRequest, Embeddings,
    FinishReason, GenerateParams, JobId, ModelDigest, ModelFacts, ModelId, ModelKind, Numerics,
    Place, PrincipalId, Prompt, TextTokens, TokenLogprob, Tokenized, TopLogprob, Usage, Work,
};

/// Says the same as every other of its class, as far as it gets.
struct Teller {
    id: BackendId,
    /// After how many events each of its streams breaks off; the last one does not.
    breaks: Mutex<VecDeque<usize>>,
    /// What the tokens are.
    first: u32,
    asked: Mutex<Vec<Option<Resume>>>,
}

use crate::Resume;

const TOKENS: u32 = 6;

impl Teller {
    fn new(id: &str, breaks: &[usize]) -> Arc<Self> {
        Self::telling(id, breaks, 100)
    }

    fn telling(id: &str, breaks: &[usize], first: u32) -> Arc<Self> {
        Arc::new(Self {
            id: id.into(),
            breaks: Mutex::new(breaks.iter().copied().collect()),
            first,
            asked: Mutex::default(),
        })
    }

    /// Every second token's log-probability is held back until the next.
    fn events(&self, request: &GenerateRequest) -> Vec<Event> {
        let n = u32::from(request.params.n);
        let mut events = vec![Event::Started {
            prompt_tokens: 3,
            cached_tokens: u32::from(request.resume.is_some()),
        }];
        let begun = |choice: u32| {
            let resume = request.resume.as_ref();
            resume.map_or(0, |r| r.choices[choice as usize].len() as u32)
        };
        for at in 0..TOKENS {
            for choice in 0..n {
                if at >= begun(choice) {
                    events.push(self.delta(choice, at, request.params.logprobs.is_some()));
                }
            }
        }
        for choice in 0..n {
            events.push(Event::Delta(Delta {
                choice,
                text: " rest".into(),
                ..Delta::default()
            }));
            let reason = FinishReason::Length;
            events.push(Event::Finished { choice, reason });
        }
        events.push(Event::Done(Usage {
            prompt_tokens: 3,
            cached_tokens: 2,
            completion_tokens: TOKENS * n,
        }));
        events
    }

    fn delta(&self, choice: u32, at: u32, logprobs: bool) -> Event {
        let one = |at: u32| TokenLogprob {
            chosen: TopLogprob {
                bytes: vec![at as u8],
                logprob: -(at as f32),
            },
            top: Vec::new(),
        };
        let out = match (logprobs, at % 2) {
            (false, _) | (true, 0) => Vec::new(),
            (true, _) => vec![one(at - 1), one(at)],
        };
        Event::Delta(Delta {
            choice,
            text: format!(" {at}"),
            tokens: 1,
            ids: vec![self.first + at],
            logprobs: out,
            stopped_by: None,
        })
    }
}

impl Backend for Teller {
    fn id(&self) -> &BackendId {
        &self.id
    }

    fn report(&self) -> BackendReport {
        BackendReport::default()
    }

    fn generate(
        &self,
        request: GenerateRequest,
    ) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        let asked = request.resume.clone();
        self.asked.lock().expect("no holder panics").push(asked);
        let events = self.events(&request);
        let cut = self.breaks.lock().expect("no holder panics").pop_front();
        let kept = cut.unwrap_or(events.len());
        let broken = cut.map(|_| Err(lost()));
        let told = events.into_iter().take(kept).map(Ok).chain(broken);
        let told: EventStream = Box::pin(stream::iter(told.collect::<Vec<_>>()));
        Box::pin(std::future::ready(Ok(told)))
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

fn lost() -> BackendError {
    let reason = "it is gone".into();
    BackendError::Upstream { reason }
}

fn bits(class: &'static str) -> Option<Bits> {
    Some(Bits {
        digest: ModelDigest([1; 32]),
        numerics: Numerics::of(class),
    })
}

/// A generation on the first of these backends, beside the others.
struct Scene {
    tellers: Vec<(Arc<Teller>, Option<Bits>)>,
    params: GenerateParams,
    constraints: Constraints,
}

impl Scene {
    fn of(tellers: &[&Arc<Teller>]) -> Self {
        let exact = |teller: &&Arc<Teller>| (Arc::clone(teller), bits("a"));
        Self {
            tellers: tellers.iter().map(exact).collect(),
            params: GenerateParams::default(),
            constraints: Constraints::default(),
        }
    }

    fn snapshot(&self) -> Snapshot {
        let candidate = |(teller, bits): &(Arc<Teller>, Option<Bits>)| Candidate {
            backend: teller.id.clone(),
            model: ModelFacts {
                id: "m".into(),
                kind: ModelKind::Generate,
                context: None,
                created: 0,
                loaded: true,
                numerics: bits.as_ref().map(|e| e.numerics.clone()),
                digest: bits.as_ref().map(|e| e.digest),
            },
            unavailable: None,
            place: Place::Here,
            load: None,
        };
        let backends = self.tellers.iter();
        Snapshot {
            candidates: self.tellers.iter().map(candidate).collect(),
            backends: backends.map(|(t, _)| Arc::clone(t) as _).collect(),
            ..Snapshot::default()
        }
    }

    async fn run(&self) -> (Vec<Event>, Option<BackendError>, Stages) {
        let (_publish, snapshot) = watch::channel(Arc::new(self.snapshot()));
        let (first, bits) = &self.tellers[0];
        let request = GenerateRequest {
            model: "m".into(),
            prompt: Prompt::Text("x".into()),
            params: self.params.clone(),
            owner: PrincipalId::operator(),
            resume: None,
        };
        let work = Work::Generate {
            prompts: vec![request.prompt.clone()],
            params: self.params.clone(),
        };
        let mut job = Job::new(JobId::random(), "m".into(), work);
        job.constraints = self.constraints.clone();
        let course = Arc::new(Course::default());
        let events = first.generate(request.clone()).await.expect("it begins");
        let thread = Thread {
            job: Arc::new(job),
            request,
            snapshot,
            course: Arc::clone(&course),
            backend: first.id.clone(),
            is_away: false,
            bits: bits.clone(),
            in_hand: InHand::default(),
        };
        let mut events = continued(events, thread);
        let mut told = Vec::new();
        loop {
            match events.try_next().await {
                Ok(Some(event)) => told.push(event),
                Ok(None) => return (told, None, course.stages()),
                Err(error) => return (told, Some(error), course.stages()),
            }
        }
    }
}

use crate::Stages;

#[tokio::test]
async fn wherever_it_breaks_the_events_are_the_same() {
    for (n, logprobs) in [(1, None), (1, Some(0)), (3, None), (3, Some(0))] {
        let params = GenerateParams {
            n,
            logprobs,
            ..GenerateParams::default()
        };
        let whole = Scene {
            params: params.clone(),
            ..Scene::of(&[&Teller::new("a", &[])])
        };
        let (expected, None, _) = whole.run().await else {
            panic!("nothing breaks");
        };
        for at in 0..expected.len() {
            let (a, b) = (Teller::new("a", &[at]), Teller::new("b", &[]));
            let scene = Scene {
                params: params.clone(),
                ..Scene::of(&[&a, &b])
            };
            let (told, error, stages) = scene.run().await;
            assert_eq!(error, None);
            assert_eq!(of_choices(&told, n), of_choices(&expected, n), "at {at}");
            assert_eq!(told.len(), expected.len());
            assert_eq!(stages.continued, 1);
            assert_eq!(stages.backend, Some("b".into()));
            assert!(!stages.inexact);
        }
    }
}

/// Choices take turns as they like; each of them is told in order.
fn of_choices(events: &[Event], n: u16) -> Vec<Vec<Event>> {
    let choice = |event: &Event| match event {
        Event::Delta(delta) => Some(delta.choice),
        Event::Finished { choice, .. } => Some(*choice),
        _ => None,
    };
    let mut told: Vec<Vec<Event>> = (0..u32::from(n))
        .map(|wanted| {
            let of_it = events.iter().filter(|e| choice(e) == Some(wanted));
            of_it.cloned().collect()
        })
        .collect();
    told.push(
        events
            .iter()
            .filter(|e| choice(e).is_none())
            .cloned()
            .collect(),
    );
    told
}

#[tokio::test]
async fn it_survives_one_loss_after_the_other() {
    let a = Teller::new("a", &[3]);
    let b = Teller::new("b", &[2]);
    let c = Teller::new("c", &[4]);
    let d = Teller::new("d", &[]);
    let (told, error, stages) = Scene::of(&[&a, &b, &c, &d]).run().await;
    assert_eq!(error, None);
    assert_eq!(told.len(), TOKENS as usize + 4);
    assert_eq!(stages.continued, 3);
    let asked = d.asked.lock().expect("no holder panics");
    let resumed = asked[0].as_ref().expect("something was said");
    assert!(!resumed.choices[0].is_empty());
}

#[tokio::test]
async fn nobody_goes_on_who_computes_other_bits() {
    let (a, b) = (Teller::new("a", &[3]), Teller::new("b", &[]));
    for other in [bits("b"), None] {
        let mut scene = Scene::of(&[&a, &b]);
        scene.tellers[1].1 = other;
        a.breaks.lock().expect("no holder panics").push_back(3);
        let (told, error, stages) = scene.run().await;
        assert_eq!(error, Some(lost()));
        assert_eq!(told.len(), 3);
        assert_eq!(stages.continued, 0);
    }
}

#[tokio::test]
async fn before_the_first_word_anybody_may_begin_anew() {
    for said in [0, 1] {
        let (a, b) = (Teller::new("a", &[said]), Teller::new("b", &[]));
        let mut scene = Scene::of(&[&a, &b]);
        scene.tellers[1].1 = None;
        let (told, error, stages) = scene.run().await;
        assert_eq!(error, None);
        assert_eq!(told.len(), TOKENS as usize + 4);
        assert!(!stages.inexact);
        assert_eq!(b.asked.lock().expect("no holder panics")[0], None);
    }
}

#[tokio::test]
async fn if_the_job_allows_it_other_bits_go_on_and_are_marked() {
    let (a, b) = (Teller::new("a", &[4]), Teller::telling("b", &[], 200));
    let mut scene = Scene::of(&[&a, &b]);
    scene.tellers[1].1 = bits("b");
    scene.constraints.inexact = true;
    let (told, error, stages) = scene.run().await;
    assert_eq!(error, None);
    assert_eq!(told.len(), TOKENS as usize + 4);
    assert!(stages.inexact);
}

#[tokio::test]
async fn who_claims_to_be_the_same_and_is_not_is_found_out() {
    let (a, b) = (Teller::new("a", &[4]), Teller::telling("b", &[], 200));
    let (told, error, stages) = Scene::of(&[&a, &b]).run().await;
    assert!(matches!(error, Some(BackendError::Upstream { .. })));
    assert_eq!(told.len(), 4);
    assert_eq!(stages.continued, 1);
}

#[tokio::test]
async fn what_the_caller_did_wrong_is_no_loss() {
    let (a, b) = (Teller::new("a", &[]), Teller::new("b", &[]));
    let scene = Scene::of(&[&a, &b]);
    let wrong = BackendError::Invalid {
        param: "n",
        reason: "no".into(),
    };
    let failing: EventStream = Box::pin(stream::iter([Err(wrong.clone())]));
    let (_publish, snapshot) = watch::channel(Arc::new(scene.snapshot()));
    let request = GenerateRequest {
        model: "m".into(),
        prompt: Prompt::Text("x".into()),
        params: GenerateParams::default(),
        owner: PrincipalId::operator(),
        resume: None,
    };
    let work = Work::Generate {
        prompts: Vec::new(),
        params: GenerateParams::default(),
    };
    let thread = Thread {
        job: Arc::new(Job::new(JobId::random(), "m".into(), work)),
        request,
        snapshot,
        course: Arc::default(),
        backend: "a".into(),
        is_away: false,
        bits: bits("a"),
        in_hand: InHand::default(),
    };
    let told: Vec<_> = continued(failing, thread).collect().await;
    assert_eq!(told, [Err(wrong)]);
}
