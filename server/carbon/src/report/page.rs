//! The report as a page. Whatever is a word of somebody's is escaped.

use std::fmt::Write;

use super::{DayRow, MonthReport, Row};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 160.0;
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2rem auto;padding:0 1rem;\
    color:#1c2321;background:#fff}h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}\
    table{border-collapse:collapse;width:100%}th,td{padding:.25rem .5rem;text-align:right;\
    border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}svg{width:100%;height:auto}\
    .a{fill:#2f7f5f}.b{fill:#b9d6c9}.c{fill:#8a6d3b}text{font-size:11px;fill:#555}p.note{color:#555}";

pub(super) fn html(report: &MonthReport) -> String {
    let total = report.total();
    let month = &total.day;
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Energy and carbon, {month}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\
         <h1>Energy and carbon of this node, {month}</h1>"
    );
    if report.days.is_empty() {
        page.push_str("<p>Nothing was metered in this month.</p>");
    } else {
        summary(&mut page, &total);
        plots(&mut page, &report.days);
        days(&mut page, &report.days);
    }
    rows(&mut page, "Requests by model", &report.models);
    rows(
        &mut page,
        "Requests by how their energy is known",
        &report.methods,
    );
    if let Some(attribution) = report.attribution {
        let made_by = escaped(attribution);
        put(
            &mut page,
            format_args!("<p class=\"note\">Yearly intensities of countries: {made_by}.</p>"),
        );
    }
    page.push_str("</body></html>");
    page
}

fn summary(page: &mut String, total: &DayRow) {
    let kwh = total.total_uj as f64 / crate::UJ_PER_KWH as f64;
    let jobs = percent(total.jobs_uj, total.total_uj);
    let (carbon, unmatched) = (grams(total.carbon_ng), grams(total.unmatched_ng));
    put(
        page,
        format_args!(
            "<p>{kwh:.4} kWh, of which requests took {jobs}; the rest is idling and what the node does for itself. \
             By the grid where it stands that is {carbon} of CO<sub>2</sub>e. Less what own renewable power matched \
             in the same hours it is {unmatched}.</p>"
        ),
    );
    let requests = &total.requests;
    let score = match requests.sci() {
        Some(score) => {
            let tokens = score
                .g_per_1k_tokens
                .map(|g| format!(", {g:.6} g for 1,000 tokens"));
            let tokens = tokens.unwrap_or_default();
            format!("{:.6} g for each{tokens}", score.g_per_request)
        }
        None => format!(
            "not known, since {} have no figure of carbon",
            requests.unknown
        ),
    };
    put(
        page,
        format_args!(
            "<p>{} requests. Software Carbon Intensity (ISO/IEC 21031, the machine's share included): {score}.</p>",
            requests.requests
        ),
    );
}

fn plots(page: &mut String, days: &[DayRow]) {
    let energy = days.iter().map(|day| {
        let jobs = day.jobs_uj as f64 / 1e6;
        (day.day.as_str(), jobs, day.unattributed_uj as f64 / 1e6)
    });
    page.push_str("<h2>Energy by day, in joules: requests, and on top what is nobody's</h2>");
    bars(page, &energy.collect::<Vec<_>>(), ("a", "b"));
    let carbon = days
        .iter()
        .map(|day| (day.day.as_str(), day.carbon_ng as f64 / 1e9, 0.0));
    page.push_str(
        "<h2>Carbon by day, in grams of CO<sub>2</sub>e, by the grid where the node stands</h2>",
    );
    bars(page, &carbon.collect::<Vec<_>>(), ("c", "c"));
}

/// Two values for each day, one on the other.
fn bars(page: &mut String, days: &[(&str, f64, f64)], (first, second): (&str, &str)) {
    let highest = days.iter().map(|(_, a, b)| a + b).fold(0.0, f64::max);
    let scale = if highest > 0.0 { HEIGHT / highest } else { 0.0 };
    let step = WIDTH / days.len() as f64;
    put(
        page,
        format_args!(
            "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\">",
            HEIGHT + 34.0
        ),
    );
    put(
        page,
        format_args!("<text x=\"0\" y=\"10\">{highest:.3}</text>"),
    );
    for (index, (day, a, b)) in days.iter().enumerate() {
        let x = index as f64 * step + step * 0.1;
        let width = step * 0.8;
        let (low, high) = (a * scale, b * scale);
        let foot = HEIGHT + 14.0;
        put(
            page,
            format_args!(
                "<g><title>{day}: {a:.3} and {b:.3}</title>\
                 <rect class=\"{first}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{low:.1}\"/>\
                 <rect class=\"{second}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{high:.1}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\">{}</text></g>",
                foot - low,
                foot - low - high,
                foot + 14.0,
                day.get(8..).unwrap_or(day),
            ),
        );
    }
    page.push_str("</svg>");
}

fn days(page: &mut String, days: &[DayRow]) {
    page.push_str(
        "<h2>Days</h2><table><tr><th>day</th><th>J</th><th>J of requests</th><th>g CO<sub>2</sub>e</th>\
         <th>g unmatched</th><th>requests</th></tr>",
    );
    for day in days {
        put(
            page,
            format_args!(
                "<tr><td>{}</td><td>{:.1}</td><td>{:.1}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                day.day,
                day.total_uj as f64 / 1e6,
                day.jobs_uj as f64 / 1e6,
                grams(day.carbon_ng),
                grams(day.unmatched_ng),
                day.requests.requests,
            ),
        );
    }
    page.push_str("</table>");
}

fn rows(page: &mut String, title: &str, rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    put(
        page,
        format_args!(
            "<h2>{title}</h2><table><tr><th></th><th>requests</th><th>tokens</th><th>J</th>\
             <th>g CO<sub>2</sub>e</th><th>g of the machine</th></tr>"
        ),
    );
    for row in rows {
        put(
            page,
            format_args!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.1}</td><td>{}</td><td>{}</td></tr>",
                escaped(&row.name),
                row.requests,
                row.tokens,
                row.energy_uj as f64 / 1e6,
                grams(row.operational_ng),
                grams(row.embodied_ng),
            ),
        );
    }
    page.push_str("</table>");
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a string takes everything");
}

fn grams(nanograms: u64) -> String {
    format!("{:.4} g", nanograms as f64 / 1e9)
}

fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "nothing".to_owned(),
        whole => format!("{:.1} %", part as f64 / whole as f64 * 100.0),
    }
}

fn escaped(text: &str) -> String {
    let replaced = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    replaced.replace('"', "&quot;").replace('\'', "&#39;")
}
