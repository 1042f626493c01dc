//! What a profiler recorded, on one screen: where it lies, what the program used meanwhile, what to ask next.

use plimsoll_model::{Run, RunStatus, units};

use crate::load::memory;
use crate::page::{Page, Style, Tone, shorten};

/// Renders the run of a recording for a terminal.
pub(crate) fn text(run: &Run, style: Style) -> String {
    let mut page = Page::new(style);
    let service = run.subject.service.as_ref();
    let command = match (&run.subject.command[..], service) {
        ([], Some(service)) => &service.command,
        (command, _) => command,
    };
    let mut head = vec![shorten(&command.join(" "), 60)];
    head.extend(service.map(|service| format!("pid {}", service.id.pid)));
    page.flow(0, Some(("plimsoll profile", Tone::Plain, 19)), &head);
    page.blank();
    let mut parts: Vec<String> = run
        .artefacts
        .iter()
        .filter(|artefact| artefact.kind != "log")
        .map(|file| format!("{} {}", file.path, units::bytes(file.bytes as f64)))
        .collect();
    parts.push(units::duration(run.duration.as_secs_f64()));
    let mut hint = None;
    let (word, tone) = match &run.status {
        RunStatus::Completed => ("RECORDED", Tone::Good),
        RunStatus::Interrupted => ("INTERRUPTED", Tone::Unsure),
        RunStatus::Failed { what, hint: h, .. } => {
            parts.insert(0, what.clone());
            hint.clone_from(h);
            ("FAILED", Tone::Bad)
        }
        _ => ("ENDED", Tone::Unsure),
    };
    page.flow(0, Some((word, tone, word.len() + 3)), &parts);
    if let Some(hint) = hint {
        page.flow(7, None, &[format!("hint: {hint}")]);
    }
    page.blank();
    if let Some(memory) = memory(run, style) {
        page.entry("memory", Tone::Label, &memory);
    }
    for finding in &run.findings {
        let mut parts = vec![finding.message.clone()];
        parts.extend(finding.hint.iter().map(|h| format!("hint: {h}")));
        page.entry("note", Tone::Label, &parts);
    }
    page.finish()
}
