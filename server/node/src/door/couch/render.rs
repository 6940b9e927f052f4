//! Documents as the protocol has them, put together from what is kept without being parsed.

use std::collections::HashMap;
use std::fmt::Write;

use kwaainet_storage::{Digest, Node, RevTree};
use kwaainet_store::Body;

/// What is told besides the document itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extras {
    /// The names of its ancestors.
    pub(super) revs: bool,
    /// The same with what is known of each.
    pub(super) revs_info: bool,
    /// The other leaves.
    pub(super) conflicts: bool,
    /// The other leaves that are deleted.
    pub(super) deleted_conflicts: bool,
    /// The place of its last change.
    pub(super) local_seq: bool,
    /// What hangs on it, too.
    pub(super) attachments: bool,
}

/// Contents in base64.
pub(super) type Contents = HashMap<Digest, String>;

/// How a document tells what hangs on it.
#[derive(Clone, Debug)]
pub(super) enum Hanging {
    /// With these contents, and of others that they are there.
    Inline(Contents),
    /// All contents stand in parts of their own behind it.
    Follows,
}

/// A text in JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

/// A revision of a document, and what hangs on it as far as that is wanted.
pub(super) fn document(
    id: &str,
    node: &Node,
    body: &Body,
    extras: Extras,
    (tree, seq): (&RevTree, i64),
    hanging: &Hanging,
) -> String {
    let mut out = String::with_capacity(body.json.len() + 128);
    write_to(
        &mut out,
        format_args!("{{\"_id\":{},\"_rev\":\"{}\"", quoted(id), node.rev),
    );
    if node.deleted {
        out.push_str(",\"_deleted\":true");
    }
    let inner = &body.json[1..body.json.len() - 1];
    if !inner.is_empty() {
        out.push(',');
        out.push_str(inner);
    }
    if !body.attachments.is_empty() {
        out.push_str(",\"_attachments\":{");
        attachments(&mut out, body, hanging);
        out.push('}');
    }
    if extras.revs {
        let history = tree.history(&node.rev);
        let ids = history.iter().map(|node| quoted(node.rev.hash()));
        let (start, ids) = (node.rev.generation(), ids.collect::<Vec<_>>().join(","));
        write_to(
            &mut out,
            format_args!(",\"_revisions\":{{\"start\":{start},\"ids\":[{ids}]}}"),
        );
    }
    if extras.revs_info {
        let history = tree.history(&node.rev).into_iter();
        let infos = history.map(|node| {
            let status = match (node.body, node.deleted) {
                (None, _) => "missing",
                (_, true) => "deleted",
                (_, false) => "available",
            };
            format!("{{\"rev\":\"{}\",\"status\":\"{status}\"}}", node.rev)
        });
        let infos = infos.collect::<Vec<_>>().join(",");
        write_to(&mut out, format_args!(",\"_revs_info\":[{infos}]"));
    }
    for (wanted, name, deleted) in [
        (extras.conflicts, "_conflicts", false),
        (extras.deleted_conflicts, "_deleted_conflicts", true),
    ] {
        let others = tree.leaves().into_iter();
        let others = others.filter(|leaf| leaf.deleted == deleted && leaf.rev != node.rev);
        let others: Vec<_> = others.map(|leaf| format!("\"{}\"", leaf.rev)).collect();
        if wanted && !others.is_empty() {
            write_to(&mut out, format_args!(",\"{name}\":[{}]", others.join(",")));
        }
    }
    if extras.local_seq {
        write_to(&mut out, format_args!(",\"_local_seq\":{seq}"));
    }
    out.push('}');
    out
}

fn attachments(out: &mut String, body: &Body, hanging: &Hanging) {
    for (i, (name, attachment)) in body.attachments.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let (name, kind) = (quoted(name), quoted(&attachment.content_type));
        let (revpos, digest) = (attachment.revpos, &attachment.digest);
        write_to(
            out,
            format_args!(
                "{comma}{name}:{{\"content_type\":{kind},\"revpos\":{revpos},\"digest\":\"{digest}\","
            ),
        );
        let content = match hanging {
            Hanging::Inline(contents) => contents.get(digest).ok_or("stub"),
            Hanging::Follows => Err("follows"),
        };
        match content {
            Ok(data) => write_to(out, format_args!("\"data\":\"{data}\"}}")),
            Err(word) => write_to(
                out,
                format_args!("\"length\":{},\"{word}\":true}}", attachment.length),
            ),
        }
    }
}

fn write_to(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("memory takes it");
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_storage::Attachment;
    use serde_json::{Value, json};

    #[test]
    fn a_document_is_put_together() {
        let mut tree = RevTree::default();
        let revs = |names: &[&str]| {
            let parse = |name: &&str| name.parse().expect("it is a revision");
            names.iter().map(parse).collect::<Vec<_>>()
        };
        tree.add(&revs(&["2-b", "1-a"]), false, 1);
        tree.add(&revs(&["2-a", "1-a"]), false, 2);
        tree.add(&revs(&["3-d", "2-d", "1-a"]), true, 3);
        let attachment = Attachment {
            content_type: "text/plain".into(),
            digest: Digest::of(b"abc"),
            length: 3,
            revpos: 1,
        };
        let body = Body {
            json: r#"{"n":1}"#.into(),
            attachments: [("a\"b".to_owned(), attachment)].into(),
        };
        let extras = Extras {
            revs: true,
            revs_info: true,
            conflicts: true,
            deleted_conflicts: true,
            local_seq: true,
            attachments: false,
        };
        let winner = tree.winner().expect("there is one");
        let named = Hanging::Inline(Contents::new());
        let said = document("x", winner, &body, extras, (&tree, 7), &named);
        let said: Value = serde_json::from_str(&said).expect("it is JSON");
        let digest = Digest::of(b"abc");
        assert_eq!(
            said,
            json!({
                "_id": "x", "_rev": "2-b", "n": 1,
                "_attachments": {"a\"b": {"content_type": "text/plain", "revpos": 1,
                    "digest": digest, "length": 3, "stub": true}},
                "_revisions": {"start": 2, "ids": ["b", "a"]},
                "_revs_info": [{"rev": "2-b", "status": "available"},
                    {"rev": "1-a", "status": "missing"}],
                "_conflicts": ["2-a"], "_deleted_conflicts": ["3-d"], "_local_seq": 7,
            })
        );
        let empty = Body {
            json: "{}".into(),
            attachments: [].into(),
        };
        let deleted = tree
            .find(&"3-d".parse().expect("a revision"))
            .expect("it is there");
        let plain = Extras::default();
        let said = document("y", deleted, &empty, plain, (&tree, 7), &named);
        assert_eq!(said, r#"{"_id":"y","_rev":"3-d","_deleted":true}"#);
    }
}
