//! The items of a response, one after the other: begun, filled, ended.

use kwaainet_core::CallStart;
use kwaainet_openapi::{
    ArgumentsDeltaStep, ArgumentsDoneStep, FunctionCallItem, ItemStatus, ItemStep, MessageItem,
    MessagePart, MessageRole, OutputLogprob, OutputText, PartStep, ResponseItem, ResponseStep,
    SearchStatus, TextDeltaStep, TextDoneStep,
};

use super::{CONTENT_INDEX, Cut, Writer};

impl Writer {
    /// More text, in a message that is begun if there is none.
    pub(in super::super) fn text(&mut self, text: &str, logprobs: Vec<OutputLogprob>) {
        if self.open_text().is_none() {
            self.begin_message();
        }
        let (item_id, output_index) = self.place();
        let part = self.open_text().expect("a message was begun above");
        part.text.push_str(text);
        part.logprobs.extend(logprobs.iter().cloned());
        self.cuts
            .push(Cut(text.len() as u32, logprobs.len() as u32));
        self.say(ResponseStep::TextDelta(TextDeltaStep {
            item_id,
            output_index,
            content_index: CONTENT_INDEX,
            delta: text.to_owned(),
            logprobs,
        }));
    }

    /// A message without any text yet.
    pub(in super::super) fn begin_message(&mut self) {
        self.close(ItemStatus::Completed);
        let id = self.next_id("msg");
        self.add(ResponseItem::Message(MessageItem {
            id: id.clone(),
            status: ItemStatus::InProgress,
            role: MessageRole::Assistant,
            content: Vec::new(),
        }));
        let part = MessagePart::OutputText(OutputText::default());
        if let Some(ResponseItem::Message(message)) = self.object.output.last_mut() {
            message.content.push(part.clone());
        }
        let (_, output_index) = self.place();
        self.say(ResponseStep::PartAdded(PartStep {
            item_id: id,
            output_index,
            content_index: CONTENT_INDEX,
            part,
        }));
    }

    /// A call begins.
    pub(in super::super) fn begin_call(&mut self, start: CallStart) {
        self.close(ItemStatus::Completed);
        let id = self.next_id("fc");
        self.add(ResponseItem::FunctionCall(FunctionCallItem {
            id,
            status: ItemStatus::InProgress,
            call_id: start.id,
            name: start.name,
            arguments: String::new(),
        }));
    }

    /// More of the open call's arguments.
    pub(in super::super) fn arguments(&mut self, more: &str) {
        let (item_id, output_index) = self.place();
        let Some(ResponseItem::FunctionCall(call)) = self.object.output.last_mut() else {
            return;
        };
        call.arguments.push_str(more);
        self.cuts.push(Cut(more.len() as u32, 0));
        self.say(ResponseStep::ArgumentsDelta(ArgumentsDeltaStep {
            item_id,
            output_index,
            delta: more.to_owned(),
        }));
    }

    /// Log-probabilities that come with no text of their own.
    pub(in super::super) fn hold(&mut self, logprobs: Vec<OutputLogprob>) {
        self.held.extend(logprobs);
    }

    /// Ends the open item, if there is one.
    pub(in super::super) fn close(&mut self, status: ItemStatus) {
        if !self.open {
            return;
        }
        let held = std::mem::take(&mut self.held);
        if let Some(part) = self.open_text() {
            part.logprobs.extend(held);
        }
        self.annotate();
        let (item_id, output_index) = self.place();
        self.set_status(status);
        self.open = false;
        let item = self.object.output.last().cloned();
        let item = item.expect("an item is open");
        match &item {
            ResponseItem::Message(message) => {
                for part in message.content.clone() {
                    self.part_done(&item_id, output_index, part);
                }
            }
            ResponseItem::FunctionCall(call) => {
                let arguments = call.arguments.clone();
                self.say(ResponseStep::ArgumentsDone(ArgumentsDoneStep {
                    item_id,
                    output_index,
                    arguments,
                }));
            }
            ResponseItem::FunctionCallOutput(_)
            | ResponseItem::FileSearchCall(_)
            | ResponseItem::Reasoning(_) => {}
        }
        self.say(ResponseStep::ItemDone(ItemStep { output_index, item }));
    }

    fn part_done(&mut self, item_id: &str, output_index: u32, part: MessagePart) {
        if let MessagePart::OutputText(text) = &part {
            self.say(ResponseStep::TextDone(TextDoneStep {
                item_id: item_id.to_owned(),
                output_index,
                content_index: CONTENT_INDEX,
                text: text.text.clone(),
                logprobs: text.logprobs.clone(),
            }));
        }
        self.say(ResponseStep::PartDone(PartStep {
            item_id: item_id.to_owned(),
            output_index,
            content_index: CONTENT_INDEX,
            part,
        }));
    }

    pub(super) fn add(&mut self, item: ResponseItem) {
        self.object.output.push(item.clone());
        self.open = true;
        let (_, output_index) = self.place();
        self.say(ResponseStep::ItemAdded(ItemStep { output_index, item }));
    }

    /// The id and the place of the last item.
    pub(super) fn place(&self) -> (String, u32) {
        let id = self.object.output.last().map_or("", ResponseItem::id);
        let index = self.object.output.len().saturating_sub(1);
        (id.to_owned(), index as u32)
    }

    pub(super) fn open_text(&mut self) -> Option<&mut OutputText> {
        match self.object.output.last_mut().filter(|_| self.open)? {
            ResponseItem::Message(message) => match message.content.last_mut()? {
                MessagePart::OutputText(part) => Some(part),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn set_status(&mut self, status: ItemStatus) {
        match self.object.output.last_mut() {
            Some(ResponseItem::Message(item)) => item.status = status,
            Some(ResponseItem::FunctionCall(item)) => item.status = status,
            Some(ResponseItem::FileSearchCall(item)) => item.status = SearchStatus::Incomplete,
            _ => {}
        }
    }
}
