//! Objects as people name and see them.

use plimsoll_heap::{Classes, EdgeKind, Format, Heap, Node, Place, Snapshot};

use crate::error::Error;

/// Names longer than this are cut: some are whole programs.
const LONGEST: usize = 120;

/// Which objects are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The one with this id.
    Id(u32),
    /// All of this class.
    Class(String),
    /// All that have a property, variable or entry of this name.
    Property(String),
    /// All strings that contain this.
    Text(String),
}

impl Target {
    /// `@123` or `123` is an id, anything else a class.
    pub fn parse(text: &str) -> Self {
        match text.strip_prefix('@').unwrap_or(text).parse() {
            Ok(id) => Self::Id(id),
            Err(_) => Self::Class(text.to_owned()),
        }
    }

    /// The objects meant, the largest first.
    pub(crate) fn find(&self, heap: &Heap) -> Result<Vec<Node>, Error> {
        let snapshot = heap.snapshot();
        let mut found: Vec<Node> = match self {
            Self::Id(id) => snapshot.find(*id).into_iter().collect(),
            Self::Class(name) => of_class(heap, name),
            Self::Property(name) => snapshot
                .nodes()
                .filter(|node| {
                    snapshot.edges(*node).any(|edge| {
                        matches!(
                            snapshot.edge_kind(edge),
                            EdgeKind::Property | EdgeKind::Context
                        ) && snapshot.edge_name(edge) == name.as_str()
                    })
                })
                .collect(),
            Self::Text(text) => snapshot
                .nodes()
                .filter(|n| {
                    snapshot.kind(*n).is_string() && heap.display_name(*n).contains(text.as_str())
                })
                .collect(),
        };
        if found.is_empty() {
            return Err(self.missing(heap));
        }
        found.sort_by_key(|node| std::cmp::Reverse(heap.retained(*node)));
        Ok(found)
    }

    fn missing(&self, heap: &Heap) -> Error {
        match self {
            Self::Id(id) => Error::usage(
                format!("no object has the id {id}"),
                "ids are numbers of one process; `plimsoll snapshot query FILE --class NAME` lists some",
            ),
            Self::Class(name) => {
                let classes = Classes::summary(heap.snapshot());
                let nearest = classes
                    .rows()
                    .map(|row| (strsim::jaro_winkler(&row.name, name), &row.name))
                    .filter(|(alike, _)| *alike > 0.8)
                    .max_by(|a, b| a.0.total_cmp(&b.0));
                let hint = match nearest {
                    Some((_, nearest)) => format!("the nearest name is `{nearest}`"),
                    None => "`plimsoll snapshot summary FILE` lists the classes".to_owned(),
                };
                Error::usage(format!("no object is of the class `{name}`"), hint)
            }
            Self::Property(name) => Error::usage(
                format!("no object has a property or variable `{name}`"),
                "names are compared as a whole, with case",
            ),
            Self::Text(text) => Error::usage(
                format!("no string contains `{text}`"),
                "strings are kept up to 1,024 characters in a snapshot",
            ),
        }
    }
}

/// Objects of a class, plain ones by their shape too; prototypes and functions that only share the name are not meant.
fn of_class(heap: &Heap, name: &str) -> Vec<Node> {
    let classes = Classes::of(heap);
    heap.snapshot()
        .nodes()
        .filter(|node| classes.class(*node).name == name && heap.shallow(*node) > 0)
        .collect()
}

/// An object in a few words: `Basket @123`, `"text" @5`, `function add @7`.
pub(crate) fn words(heap: &Heap, node: Node) -> String {
    use plimsoll_heap::NodeKind;
    let name = heap.display_name(node);
    let name = cut(&name);
    let id = heap.snapshot().id(node);
    match heap.snapshot().kind(node) {
        kind if kind.is_string() => format!("\"{name}\" @{id}"),
        NodeKind::Closure if name.is_empty() => format!("function @{id}"),
        NodeKind::Closure => format!("function {name} @{id}"),
        kind if name.is_empty() => format!("({}) @{id}", kind.word()),
        _ => format!("{name} @{id}"),
    }
}

/// What a snapshot of this format does not tell.
pub(super) fn gaps(snapshot: &Snapshot) -> Option<String> {
    (snapshot.format() == Format::JavaScriptCore).then(|| {
        "JavaScriptCore's own format: it tells neither what strings say nor what a Map or Set holds nor where code is written, \
         and numbers objects anew each time; Bun.generateHeapSnapshot(\"v8\") writes more"
            .to_owned()
    })
}

pub(crate) fn cut(text: &str) -> String {
    let mut characters = text.chars();
    let head: String = characters.by_ref().take(LONGEST).collect();
    match characters.next() {
        Some(_) => head + "…",
        None => head,
    }
}

/// `src/store.js:14`.
pub(crate) fn place(place: &Place) -> Option<String> {
    (!place.script.is_empty()).then(|| format!("{}:{}", relative(file(&place.script)), place.line))
}

/// A script's path as people write it.
pub(crate) fn file(script: &str) -> &str {
    match script.strip_prefix("file://") {
        // The query by which a module is loaded once more.
        Some(path) => path.split('?').next().unwrap_or(path),
        None => script,
    }
}

/// A path as it is written from here.
pub(crate) fn relative(path: &str) -> &str {
    static HERE: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let here = HERE.get_or_init(|| {
        let here = std::env::current_dir().ok()?.to_str()?.to_owned();
        Some(here + "/")
    });
    here.as_deref()
        .and_then(|here| path.strip_prefix(here))
        .unwrap_or(path)
}
