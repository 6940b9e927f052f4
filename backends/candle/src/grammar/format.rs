//! The values of `format` that the JSON Schema standard defines, as patterns. Some are narrower than
//! the standard, so that every validator agrees with them. Values that the standard does not define
//! are annotations, as it says.

/// What to make of a format.
pub(super) enum Format {
    /// All of these patterns hold, in the matcher's syntax.
    Patterns(&'static [&'static str]),
    /// The standard defines it, but it is not regular.
    Unenforceable,
    /// The standard does not know it.
    Annotation,
}

pub(super) fn format(name: &str) -> Format {
    Format::Patterns(match name {
        "date" => DATE,
        "time" => TIME,
        "date-time" => DATE_TIME,
        "duration" => DURATION,
        "email" | "idn-email" => EMAIL,
        "hostname" | "idn-hostname" => HOSTNAME,
        "ipv4" => IPV4,
        "ipv6" => IPV6,
        "uuid" => UUID,
        "uri" | "iri" | "uri-template" => URI,
        "uri-reference" | "iri-reference" => REFERENCE,
        "json-pointer" => POINTER,
        "relative-json-pointer" => RELATIVE_POINTER,
        "regex" => return Format::Unenforceable,
        _ => return Format::Annotation,
    })
}

/// The calendar of RFC 3339 with its leap years; no year 0.
const DATE: &[&str] = &[
    r"^(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)$",
    NO_YEAR_0,
];
const NO_YEAR_0: &str = r"^(?:[1-9]|0[1-9]|00[1-9]|000[1-9])";
/// Without leap seconds.
const TIME: &[&str] = &[
    r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$",
];
const DATE_TIME: &[&str] = &[
    r"^(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$",
    NO_YEAR_0,
];
/// RFC 3339, appendix A.
const DURATION: &[&str] = &[
    r"^P(?:[0-9]{1,9}W|(?:[0-9]{1,9}Y(?:[0-9]{1,9}M(?:[0-9]{1,9}D)?)?|[0-9]{1,9}M(?:[0-9]{1,9}D)?|[0-9]{1,9}D)(?:T(?:[0-9]{1,9}H(?:[0-9]{1,9}M(?:[0-9]{1,9}S)?)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?|[0-9]{1,9}S))?|T(?:[0-9]{1,9}H(?:[0-9]{1,9}M(?:[0-9]{1,9}S)?)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?|[0-9]{1,9}S))$",
];
/// An unquoted local part and a name of a host.
const EMAIL: &[&str] = &[
    r"^[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]{1,32}(?:\.[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]{1,15}){0,2}@[0-9A-Za-z](?:[0-9A-Za-z-]{0,40}[0-9A-Za-z])?(?:\.[0-9A-Za-z](?:[0-9A-Za-z-]{0,40}[0-9A-Za-z])?){0,4}$",
];
/// Within the length that a name may have; no hyphens as of encoded names.
const HOSTNAME: &[&str] = &[
    r"^[0-9A-Za-z]{1,2}(?:-?[0-9A-Za-z]){0,30}(?:\.[0-9A-Za-z]{1,2}(?:-?[0-9A-Za-z]){0,30}){0,2}(?:\.[A-Za-z]{1,30})?$",
];
const IPV4: &[&str] = &[
    r"^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])$",
];
/// RFC 4291 without embedded IPv4.
const IPV6: &[&str] = &[
    r"^(?:(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}|(?:[0-9A-Fa-f]{1,4}:){6}:[0-9A-Fa-f]{1,4}|(?:[0-9A-Fa-f]{1,4}:){5}(?::[0-9A-Fa-f]{1,4}){1,2}|(?:[0-9A-Fa-f]{1,4}:){4}(?::[0-9A-Fa-f]{1,4}){1,3}|(?:[0-9A-Fa-f]{1,4}:){3}(?::[0-9A-Fa-f]{1,4}){1,4}|(?:[0-9A-Fa-f]{1,4}:){2}(?::[0-9A-Fa-f]{1,4}){1,5}|[0-9A-Fa-f]{1,4}:(?::[0-9A-Fa-f]{1,4}){1,6}|:(?::[0-9A-Fa-f]{1,4}){1,7}|(?:[0-9A-Fa-f]{1,4}:){1,7}:|::)$",
];
const UUID: &[&str] =
    &[r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$"];
/// RFC 3986: with the name of a host, or without any authority.
const URI: &[&str] = &[
    r"^[A-Za-z][0-9A-Za-z+.-]*:(?://[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?(?::[0-9]{1,4})?(?:/(?:[0-9A-Za-z._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*|(?:[0-9A-Za-z._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+(?:/(?:[0-9A-Za-z._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*)(?:\?(?:[0-9A-Za-z._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?(?:#(?:[0-9A-Za-z._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?$",
];
/// One with a scheme and the name of a host, or one without either.
const REFERENCE: &[&str] = &[
    r"^(?:[A-Za-z][0-9A-Za-z+.-]*://[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?(?::[0-9]{1,4})?(?:/(?:[0-9A-Za-z._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*|/?(?:(?:[0-9A-Za-z._~!$&'()*+,;=@-]|%[0-9A-Fa-f]{2})+(?:/(?:[0-9A-Za-z._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*)?)(?:\?(?:[0-9A-Za-z._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?(?:#(?:[0-9A-Za-z._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?$",
];
/// RFC 6901.
const POINTER: &[&str] = &[r"^(?:/(?:[^/~]|~[01])*)*$"];
const RELATIVE_POINTER: &[&str] = &[r"^[0-9](?:#|(?:/(?:[^/~]|~[01])*)*)$"];
