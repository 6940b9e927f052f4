//! Which requests are recorded, and what each of them is called in the audit log. Nothing else of a request is decided
//! here.

use axum::http::Method;

/// What of storage a request touches whose route has no line below: it is recorded all the same.
const STORAGE: [&str; 2] = ["/couch/", "/v1/storage/"];

/// Every route of storage, and of identity those that let somebody in or change what is known of him. A name that ends
/// with `.read` changed nothing.
#[rustfmt::skip]
const DEEDS: &[(&str, &[(Method, &str)])] = &[
    ("/couch/_all_dbs", &[(Method::GET, "storage.databases.read")]),
    ("/couch/{db}", &[
        (Method::GET, "storage.database.read"),
        (Method::PUT, "storage.database.create"),
        (Method::DELETE, "storage.database.delete"),
        (Method::POST, "storage.document.write"),
    ]),
    ("/couch/{db}/_all_docs", &[
        (Method::GET, "storage.documents.read"),
        (Method::POST, "storage.documents.read"),
    ]),
    ("/couch/{db}/_design_docs", &[(Method::GET, "storage.documents.read")]),
    ("/couch/{db}/_bulk_docs", &[(Method::POST, "storage.documents.write")]),
    ("/couch/{db}/_bulk_get", &[(Method::POST, "storage.documents.read")]),
    ("/couch/{db}/_find", &[(Method::POST, "storage.documents.read")]),
    ("/couch/{db}/_explain", &[(Method::POST, "storage.index.read")]),
    ("/couch/{db}/_index", &[
        (Method::GET, "storage.index.read"),
        (Method::POST, "storage.index.write"),
    ]),
    ("/couch/{db}/_index/{ddoc}/json/{name}", &[(Method::DELETE, "storage.index.delete")]),
    ("/couch/{db}/_changes", &[
        (Method::GET, "storage.changes.read"),
        (Method::POST, "storage.changes.read"),
    ]),
    ("/couch/{db}/_revs_diff", &[(Method::POST, "storage.revisions.read")]),
    ("/couch/{db}/_missing_revs", &[(Method::POST, "storage.revisions.read")]),
    ("/couch/{db}/_ensure_full_commit", &[(Method::POST, "storage.database.read")]),
    ("/couch/{db}/_compact", &[(Method::POST, "storage.database.compact")]),
    ("/couch/{db}/_purge", &[(Method::POST, "storage.documents.erase")]),
    ("/couch/{db}/_security", &[
        (Method::GET, "storage.security.read"),
        (Method::PUT, "storage.security.write"),
    ]),
    ("/couch/{db}/_local/{id}", LOCAL),
    ("/couch/{db}/_design/{id}", DOCUMENT),
    ("/couch/{db}/_design/{id}/{*name}", ATTACHMENT),
    ("/couch/{db}/{id}", DOCUMENT),
    ("/couch/{db}/{id}/{*name}", ATTACHMENT),
    ("/couch/{db}/{id}/_copy", &[(Method::POST, "storage.document.write")]),
    ("/couch/_replicate", &[(Method::POST, "storage.replication.create")]),
    ("/v1/storage/databases", &[
        (Method::GET, "storage.databases.read"),
        (Method::POST, "storage.database.create"),
    ]),
    ("/v1/storage/databases/{db}", &[
        (Method::GET, "storage.database.read"),
        (Method::DELETE, "storage.database.delete"),
    ]),
    ("/v1/storage/databases/{db}/changes", &[(Method::GET, "storage.changes.read")]),
    ("/v1/storage/databases/{db}/export", &[(Method::GET, "storage.database.export.read")]),
    ("/v1/storage/databases/{db}/erase", &[(Method::POST, "storage.documents.erase")]),
    ("/v1/storage/databases/{db}/grants", &[
        (Method::GET, "storage.grants.read"),
        (Method::POST, "storage.grant.create"),
    ]),
    ("/v1/storage/databases/{db}/grants/{id}", &[(Method::DELETE, "storage.grant.revoke")]),
    ("/v1/storage/erasures/{id}", &[(Method::GET, "storage.erasure.read")]),
    ("/v1/storage/replications", &[
        (Method::GET, "storage.replications.read"),
        (Method::POST, "storage.replication.create"),
    ]),
    ("/v1/storage/replications/{id}", &[
        (Method::GET, "storage.replication.read"),
        (Method::DELETE, "storage.replication.delete"),
    ]),
    ("/v1/storage/databases/{db}/docs", &[(Method::GET, "storage.documents.read")]),
    ("/v1/storage/databases/{db}/docs/{id}", DOCUMENT),
    ("/v1/storage/blobs", &[
        (Method::GET, "storage.blobs.read"),
        (Method::POST, "storage.blob.write"),
    ]),
    ("/v1/storage/blobs/{hash}", &[
        (Method::GET, "storage.blob.read"),
        (Method::DELETE, "storage.blob.delete"),
    ]),
    ("/v1/storage/blobs/{hash}/proof", &[(Method::GET, "storage.blob.prove.read")]),
    ("/v1/storage/uploads", &[(Method::POST, "storage.upload.create")]),
    ("/v1/storage/uploads/{id}", &[
        (Method::GET, "storage.upload.read"),
        (Method::PUT, "storage.upload.write"),
        (Method::DELETE, "storage.upload.delete"),
    ]),
    ("/v1/storage/usage", &[(Method::GET, "storage.usage.read")]),
    ("/v1/auth/verify", &[(Method::POST, "identity.session.create")]),
    ("/v1/auth/passkey/login/complete", &[(Method::POST, "identity.session.create")]),
    ("/v1/auth/passkey/register/complete", &[(Method::POST, "identity.passkey.create")]),
    ("/v1/auth/sessions", &[(Method::GET, "identity.sessions.read")]),
    ("/v1/auth/sessions/{session}", &[(Method::DELETE, "identity.session.end")]),
    ("/v1/auth/capabilities", &[(Method::POST, "identity.capability.create")]),
    ("/v1/auth/capabilities/revoke", &[(Method::POST, "identity.capability.revoke")]),
    ("/v1/identity/links", &[
        (Method::GET, "identity.links.read"),
        (Method::POST, "identity.link.create"),
    ]),
    ("/v1/identity/links/{did}", &[(Method::DELETE, "identity.link.delete")]),
    ("/v1/identity/succeed", &[(Method::POST, "identity.account.succeed")]),
    ("/v1/identity/prepare", &[(Method::POST, "identity.account.prepare")]),
    ("/v1/identity/credentials", &[(Method::POST, "identity.credential.show")]),
    ("/v1/credentials/issue", &[(Method::POST, "identity.credential.issue")]),
    ("/v1/credentials/status", &[(Method::POST, "identity.credential.revoke")]),
    ("/v1/credentials/present", &[(Method::POST, "identity.credential.present")]),
    ("/v1/credentials/verify", &[(Method::POST, "identity.credential.verify")]),
    ("/v1/credentials/presentations/verify", &[(Method::POST, "identity.credential.verify")]),
];

const DOCUMENT: &[(Method, &str)] = &[
    (Method::GET, "storage.document.read"),
    (Method::PUT, "storage.document.write"),
    (Method::DELETE, "storage.document.delete"),
];
const ATTACHMENT: &[(Method, &str)] = &[
    (Method::GET, "storage.attachment.read"),
    (Method::PUT, "storage.attachment.write"),
    (Method::DELETE, "storage.attachment.delete"),
];
const LOCAL: &[(Method, &str)] = &[
    (Method::GET, "storage.local.read"),
    (Method::PUT, "storage.local.write"),
    (Method::DELETE, "storage.local.delete"),
];

/// What a request to this route is called; none if it is not recorded.
pub(super) fn of(method: &Method, route: &str) -> Option<&'static str> {
    let asked = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let deeds = DEEDS.iter().find(|(known, _)| *known == route);
    let mut deeds = deeds.into_iter().flat_map(|(_, deeds)| *deeds);
    match deeds.find(|(known, _)| known == asked) {
        Some((_, action)) => Some(action),
        None if !STORAGE.iter().any(|root| route.starts_with(root)) => None,
        None if asked == Method::GET => Some("storage.other.read"),
        None => Some("storage.other.write"),
    }
}

/// Whether a deed of this name is answered only when its entry is on the disk: all that change something, but for the
/// bookmarks that replicating clients leave after every batch.
pub(super) fn is_awaited(action: &str) -> bool {
    !reads(action) && action != "storage.local.write"
}

fn reads(action: &str) -> bool {
    action.ends_with(".read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_audit::Action;

    /// Each operation of the document below these paths.
    fn operations(roots: &[&str]) -> Vec<(Method, String)> {
        let document = serde_json::to_value(crate::door::document()).expect("it is JSON");
        let paths = document["paths"].as_object().expect("it has paths");
        let under = |path: &str| roots.iter().any(|root| path.starts_with(root));
        let mut all = Vec::new();
        for (path, item) in paths.iter().filter(|(path, _)| under(path)) {
            let methods = item.as_object().expect("it has operations").keys();
            let methods = methods.map(|method| method.to_uppercase().parse());
            all.extend(methods.map(|method| (method.expect("a method"), path.clone())));
        }
        all
    }

    /// The document calls the rest of a path `{name}`, where a route says `{*name}`.
    fn route(path: &str) -> String {
        match path.starts_with("/couch/") && !path.contains("/_index/") {
            true => path.replace("{name}", "{*name}"),
            false => path.to_owned(),
        }
    }

    #[test]
    fn every_operation_of_storage_has_a_name_of_its_own_kind() {
        let operations = operations(&["/couch/", "/v1/storage/"]);
        assert!(operations.len() > 50);
        for (method, path) in operations {
            let action = of(&method, &route(&path)).expect("it is recorded");
            assert!(
                !action.starts_with("storage.other"),
                "{method} {path} has no name"
            );
            let safe = [Method::GET, Method::HEAD].contains(&method);
            assert!(!safe || reads(action), "{method} {path} is {action}");
            assert!(
                method != Method::PUT && method != Method::DELETE || !reads(action),
                "{method} {path} is {action}"
            );
        }
    }

    #[test]
    fn names_are_actions_and_routes_are_there() {
        let routes: Vec<String> = operations(&["/couch", "/v1/"])
            .iter()
            .map(|(_, path)| route(path))
            .collect();
        for (known, deeds) in DEEDS {
            assert!(routes.iter().any(|path| path == known), "{known}");
            for (_, action) in *deeds {
                Action::new(*action).expect("it is a name");
            }
        }
        assert_eq!(of(&Method::GET, "/v1/models"), None);
        assert_eq!(
            of(&Method::PATCH, "/couch/{db}/_later"),
            Some("storage.other.write")
        );
        assert_eq!(
            of(&Method::HEAD, "/couch/{db}/{id}"),
            Some("storage.document.read")
        );
    }
}
