//! A diagnosis as a page: one line each, and what to do below what is not as it should be.

use plimsoll_model::{Diagnosis, Health};

use crate::page::{Page, Style, Tone};
use crate::to_json;

/// Renders a diagnosis for a terminal.
pub fn doctor_text(diagnosis: &Diagnosis, style: Style) -> String {
    let mut page = Page::new(style);
    for answer in &diagnosis.answers {
        let tone = match answer.state {
            Health::Ok => Tone::Good,
            Health::Limited => Tone::Unsure,
            Health::Missing => Tone::Bad,
        };
        let found = format!("{}: {}", answer.about, answer.found);
        page.flow(0, Some((answer.state.as_str(), tone, 10)), &[found]);
        if let Some(remedy) = &answer.remedy {
            page.flow(10, None, &[format!("hint: {remedy}")]);
        }
    }
    page.blank();
    let word = match diagnosis.health() {
        Health::Ok => "everything can be observed",
        Health::Limited => "measuring is possible; what is limited is seen less well",
        Health::Missing => "nothing can be measured like this",
    };
    page.flow(0, None, &[word]);
    page.finish()
}

/// The same for machines: one line of JSON, schema `plimsoll.doctor/1`.
pub fn doctor_json(diagnosis: &Diagnosis) -> String {
    to_json(diagnosis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_model::{Answer, DIAGNOSIS_SCHEMA};

    #[test]
    fn a_remedy_stands_below_what_it_is_for() {
        let answer = |about: &str, state, remedy: Option<&str>| Answer {
            about: about.to_owned(),
            state,
            found: "what was found".to_owned(),
            remedy: remedy.map(str::to_owned),
        };
        let diagnosis = Diagnosis {
            schema: DIAGNOSIS_SCHEMA.to_owned(),
            tool_version: "0.1.0".to_owned(),
            pid: None,
            answers: vec![
                answer("kernel", Health::Ok, None),
                answer("disk", Health::Limited, Some("free some space")),
            ],
        };
        let style = Style {
            color: false,
            width: 80,
            ascii: false,
        };
        insta::assert_snapshot!(doctor_text(&diagnosis, style), @r"
        ok        kernel: what was found
        limited   disk: what was found
                  hint: free some space

        measuring is possible; what is limited is seen less well
        ");
    }
}
