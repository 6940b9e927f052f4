//! Searches that the node makes between two generations, and the files that texts then rest on.

use kwaainet_openapi::{
    Annotation, AnnotationStep, FileCitation, FileSearchCallItem, FileSearchResult,
    IncompleteDetails, ItemStep, ResponseItem, ResponseStep, SearchStatus, SearchStep,
};

use super::{CONTENT_INDEX, Writer};

impl Writer {
    /// Holds the model's calls of the search back, for the node to answer.
    pub(in super::super) fn with_searches(mut self) -> Self {
        self.calls = Some(Vec::new());
        self
    }

    /// The arguments of the searches that were called for since it was last asked.
    pub(in super::super) fn take_calls(&mut self) -> Vec<String> {
        self.calls.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether the response goes on only after its client, or not at all.
    pub(in super::super) fn is_at_its_end(&self) -> bool {
        self.waits || self.object.incomplete_details.is_some()
    }

    /// Nothing more can be said within the limit of tokens.
    pub(in super::super) fn is_used_up(&mut self) {
        let reason = "max_output_tokens".to_owned();
        self.object.incomplete_details = Some(IncompleteDetails { reason });
    }

    /// A search begins. Gives its id.
    pub(in super::super) fn begin_search(&mut self, queries: Vec<String>) -> String {
        let id = self.next_id("fs");
        self.add(ResponseItem::FileSearchCall(FileSearchCallItem {
            id: id.clone(),
            status: SearchStatus::InProgress,
            queries,
            results: None,
        }));
        let step = self.search_step();
        self.say(ResponseStep::SearchInProgress(step.clone()));
        if let Some(ResponseItem::FileSearchCall(search)) = self.object.output.last_mut() {
            search.status = SearchStatus::Searching;
        }
        self.say(ResponseStep::SearchSearching(step));
        id
    }

    /// The search is over. `results` is what the client is to see of it.
    pub(in super::super) fn end_search(
        &mut self,
        status: SearchStatus,
        results: Option<Vec<FileSearchResult>>,
    ) {
        if let Some(ResponseItem::FileSearchCall(search)) = self.object.output.last_mut() {
            search.status = status;
            search.results = results;
        }
        self.open = false;
        let step = self.search_step();
        let output_index = step.output_index;
        if status == SearchStatus::Completed {
            self.say(ResponseStep::SearchCompleted(step));
        }
        let item = self.object.output.last().cloned();
        let item = item.expect("a search was begun");
        self.say(ResponseStep::ItemDone(ItemStep { output_index, item }));
    }

    /// Texts from now on rest on this file too.
    pub(in super::super) fn rests_on(&mut self, file_id: &str, filename: &str) {
        if self.sources.iter().all(|source| source.file_id != file_id) {
            self.sources.push(FileCitation {
                file_id: file_id.to_owned(),
                filename: filename.to_owned(),
                index: 0,
            });
        }
    }

    /// Texts from now on rest on nothing as yet.
    pub(in super::super) fn forget_sources(&mut self) {
        self.sources.clear();
    }

    /// Puts the files that a text rests on at its end.
    pub(super) fn annotate(&mut self) {
        let sources = self.sources.clone();
        let Some(part) = self.open_text().filter(|part| !part.text.is_empty()) else {
            return;
        };
        let index = part.text.chars().count() as u32;
        let cite = |source| Annotation::FileCitation(FileCitation { index, ..source });
        let annotations: Vec<Annotation> = sources.into_iter().map(cite).collect();
        part.annotations.clone_from(&annotations);
        let (item_id, output_index) = self.place();
        for (annotation, annotation_index) in annotations.into_iter().zip(0..) {
            self.say(ResponseStep::AnnotationAdded(AnnotationStep {
                item_id: item_id.clone(),
                output_index,
                content_index: CONTENT_INDEX,
                annotation_index,
                annotation,
            }));
        }
    }

    fn search_step(&self) -> SearchStep {
        let (item_id, output_index) = self.place();
        SearchStep {
            item_id,
            output_index,
        }
    }
}
