//! `kwaainet route explain`: where the running node would send a request, and why.

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::client::NodeClient;
use crate::config::{Config, Environment};
use crate::terminal;
use crate::wiring;

#[derive(Debug, Subcommand)]
pub(super) enum RouteCommand {
    /// Say where a request for `--model` would go now, and why not elsewhere. Nothing is run.
    Explain(Box<ExplainArgs>),
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// What counts: local, fast, green or cheap.
    #[arg(long)]
    prefer: Option<String>,
    /// Nodes of this tier or a better one: t0 to t3.
    #[arg(long, value_name = "TIER")]
    tier_min: Option<String>,
    /// Nodes in this region; may be given several times.
    #[arg(long = "region", value_name = "REGION")]
    regions: Vec<String>,
    /// Grams of CO2 equivalent for 1,000 tokens at most.
    #[arg(long, value_name = "GRAMS")]
    max_gco2_per_1k: Option<f64>,
    /// Micro-VDA for 1,000 tokens at most.
    #[arg(long, value_name = "PRICE")]
    max_price: Option<u64>,
    /// Who may read it: confidential or normal.
    #[arg(long, value_name = "CLASS")]
    data_class: Option<String>,
    /// Milliseconds to the first token at most.
    #[arg(long, value_name = "MS")]
    max_ttft_ms: Option<u64>,
    /// Only this node, by its id; may be given several times.
    #[arg(long = "peer", value_name = "NODE")]
    peers: Vec<String>,
    /// What would be asked.
    #[arg(long, default_value = "Hello", value_name = "TEXT")]
    prompt: String,
    /// Most tokens of the answer.
    #[arg(long, value_name = "N")]
    max_tokens: Option<u32>,
    /// Vectors of the prompt instead of an answer to it.
    #[arg(long, conflicts_with = "max_tokens")]
    embed: bool,
    /// As the node says it.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    command: RouteCommand,
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<()> {
    let RouteCommand::Explain(args) = command;
    let model = match config.models.first() {
        Some(model) => model.clone(),
        None => wiring::catalogue(config)?.default_model().name().to_owned(),
    };
    let node = NodeClient::new(config.listen, environment)?;
    let plan = node.post("/v1/kwaai/route", &args.body(&model)).await?;
    if args.json {
        terminal::line(serde_json::to_string_pretty(&plan)?);
        return Ok(());
    }
    print(&plan).context("the node's answer is not a plan")
}

impl ExplainArgs {
    /// The request that is asked about.
    fn body(&self, model: &str) -> Value {
        let list = |items: &[String]| (!items.is_empty()).then(|| json!(items));
        let demands = [
            ("prefer", self.prefer.as_ref().map(|word| json!(word))),
            ("tier_min", self.tier_min.as_ref().map(|tier| json!(tier))),
            ("region", list(&self.regions)),
            (
                "max_gco2_per_1k",
                self.max_gco2_per_1k.map(|grams| json!(grams)),
            ),
            ("max_price", self.max_price.map(|price| json!(price))),
            (
                "data_class",
                self.data_class.as_ref().map(|class| json!(class)),
            ),
            ("max_ttft_ms", self.max_ttft_ms.map(|ms| json!(ms))),
            ("peers", list(&self.peers)),
        ];
        let demands = demands
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let demands: Map<String, Value> = demands.collect();
        let mut body = match self.embed {
            true => json!({"model": model, "input": self.prompt}),
            false => {
                json!({"model": model, "messages": [{"role": "user", "content": self.prompt}]})
            }
        };
        if let Some(max) = self.max_tokens {
            body["max_tokens"] = json!(max);
        }
        if !demands.is_empty() {
            body["kwaai"] = Value::Object(demands);
        }
        body
    }
}

fn print(plan: &Value) -> Option<()> {
    let candidates = plan["candidates"].as_array()?;
    terminal::line(format!(
        "{}, prefer {}",
        plan["model"].as_str()?,
        plan["prefer"].as_str()?
    ));
    if candidates.is_empty() {
        terminal::line("nobody may serve it now");
    } else {
        terminal::line(format!(
            "   {:<18} {:<9} {:<5} {:>11} {:>9} {:>9} {:>9} {:>7} {:>9}",
            "BACKEND", "PLACE", "TIER", "1ST TOKEN", "QUEUE", "PREFILL", "ALL", "PRICE", "GCO2/1K"
        ));
    }
    for (number, one) in (1..).zip(candidates) {
        terminal::line(format!("{number:>2} {}", row(one)?));
    }
    if let [_, second] = plan["tied"].as_array()?.as_slice() {
        let second = second.as_str()?;
        terminal::line(format!(
            "tied: {second} keeps a place if the first takes long to answer"
        ));
    }
    for one in plan["dropped"].as_array()? {
        let (backend, reason) = (one["backend"].as_str()?, one["reason"].as_str()?);
        terminal::line(format!("not {backend}: {reason}"));
    }
    Some(())
}

fn row(one: &Value) -> Option<String> {
    let estimate = &one["estimate"];
    let guess = if estimate["is_guess"] == true {
        "~"
    } else {
        ""
    };
    let ms = |field: &str| match estimate[field].as_f64() {
        Some(ms) => format!("{guess}{ms:.0} ms"),
        None => "-".to_owned(),
    };
    let grams = one["gco2_per_1k"].as_f64();
    Some(format!(
        "{:<18} {:<9} {:<5} {:>11} {:>9} {:>9} {:>9} {:>7} {:>9}",
        one["backend"].as_str()?,
        one["place"].as_str()?,
        one["tier"].as_str().unwrap_or("-"),
        ms("first_token_ms"),
        ms("queue_ms"),
        ms("prefill_ms"),
        ms("finish_ms"),
        one["price"]
            .as_u64()
            .map_or("-".to_owned(), |price| price.to_string()),
        grams.map_or("-".to_owned(), |grams| format!("{grams:.3}")),
    ))
}
