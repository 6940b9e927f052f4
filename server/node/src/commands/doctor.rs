//! `kwaainet doctor`.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use kwaainet_iroh::{Finding, Grade};
use kwaainet_openapi::DoctorFinding;
use kwaainet_store::Store;

use super::serve::federation;
use crate::client::NodeClient;
use crate::config::{Config, Environment};
use crate::doctor::{Machine, without_a_node};
use crate::door::doctor_report;
use crate::node::{DataDirLock, StartError};
use crate::terminal;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Works beside a running node, which then says itself how it sees the others, and without one.
pub(super) async fn doctor(
    args: DoctorArgs,
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<ExitCode> {
    let lock = match config.data_dir.is_dir() {
        true => Some(DataDirLock::take(&config.data_dir)),
        false => None,
    };
    let running = matches!(lock, Some(Err(StartError::InUse { .. })));
    let machine = Machine {
        config,
        environment,
        running,
    };
    let mut report = doctor_report(machine.findings().await);
    let network = match running {
        true => of_running_node(config, environment).await,
        false => doctor_report(alone(config, environment).await).data,
    };
    report.data.extend(network);
    let broken = report.data.iter().filter(|it| it.grade == "bad").count();
    report.ok = broken == 0;
    drop(lock);
    if args.json {
        terminal::line(serde_json::to_string_pretty(&report)?);
    } else {
        for finding in &report.data {
            terminal::line(row(finding));
        }
        terminal::note(match broken {
            0 => "Nothing is broken.".to_owned(),
            1 => "One thing is broken.".to_owned(),
            broken => format!("{broken} things are broken."),
        });
    }
    Ok(match report.ok {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// One line for people, and a second one if there is something to do.
fn row(finding: &DoctorFinding) -> String {
    let grade = match finding.grade.as_str() {
        "good" => "ok",
        "bad" => "BAD",
        other => other,
    };
    let (about, says) = (&finding.about, &finding.says);
    let advice = finding.advice.as_ref();
    let advice = advice.map(|advice| format!("\n{:<17}-> {advice}", ""));
    format!(
        "{grade:<4}  {about:<10} {says}{}",
        advice.unwrap_or_default()
    )
}

async fn of_running_node(config: &Config, environment: &Environment) -> Vec<DoctorFinding> {
    let asking = async {
        let node = NodeClient::new(config.listen, environment)?;
        let mut report = node.get("/v1/kwaai/doctor").await?;
        let found = report["data"].take();
        serde_json::from_value(found).context("the node's report makes no sense")
    };
    asking.await.unwrap_or_else(|error| {
        let says = format!("A node runs with this data directory, and does not say how it is: {error}.");
        let silent = Finding::bad("node", says).advise(
            "Give this command the --listen and --config of the node, and a key with the scope 'metrics' in \
             KWAAINET_API_KEY if it has keys.",
        );
        doctor_report(vec![silent]).data
    })
}

/// What a node would see of the network if it were started now.
async fn alone(config: &Config, environment: &Environment) -> Vec<Finding> {
    if !config.federation.enabled {
        return crate::doctor::Network::Off.findings();
    }
    if !config.database().exists() || !crate::identity::key_file(config).path().exists() {
        let says = "The node never ran with the federation: it has no members to look for.";
        return vec![Finding::note("federation", says)];
    }
    let opened = async {
        let setup = federation(config, environment)?.context("the federation is off")?;
        let store = Store::open(&config.database()).await?;
        anyhow::Ok((setup, store))
    };
    match opened.await {
        Ok((setup, store)) => {
            let findings = without_a_node(setup, store.clone()).await;
            store.close().await;
            findings
        }
        Err(error) => vec![Finding::new(
            "federation",
            Grade::Bad,
            format!("The federation cannot be opened: {error}."),
        )],
    }
}
