//! Captured variables: how much closures' contexts retain, and which of the variables no living function can
//! read any more.
//!
//! The second needs the tables of scopes that newer versions of V8 write; the analysis is that of `DevTools`,
//! which misses scopes with a negative number because it reads them without their sign.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::columns::Table;
use crate::growth::is_context;
use crate::heap::Heap;
use crate::meta::{EdgeKind, Fields, NodeKind};
use crate::snapshot::{Node, Snapshot};

/// A context and what it captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The context.
    pub node: Node,
    /// Bytes that go with it.
    pub retained: u64,
    /// Variables with their values, in order.
    pub variables: Vec<(String, Node)>,
    /// Functions that share it, by the ids of their objects.
    pub functions: Vec<Node>,
}

/// A variable that is captured, yet no living function can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadVariable {
    /// Its name.
    pub name: String,
    /// The context that holds it.
    pub context: Node,
    /// Its value.
    pub value: Node,
    /// Bytes that the value retains: what would be free without the variable, if nothing else holds it.
    pub retained: u64,
    /// The function that declares it, if it has a name.
    pub function: String,
    /// The script, as the runtime names it.
    pub script: String,
}

/// The contexts that retain most, at most `limit`.
pub fn largest(heap: &Heap, limit: usize) -> Vec<Context> {
    let snapshot = &heap.snapshot;
    let mut nodes: Vec<Node> = snapshot
        .nodes()
        .filter(|node| is_context(snapshot.raw_name(node.0)))
        .collect();
    nodes.sort_by_key(|node| (std::cmp::Reverse(heap.retained(*node)), *node));
    nodes.truncate(limit);
    let functions = heap.retainers(&nodes);
    nodes
        .into_iter()
        .zip(functions)
        .map(|(node, retainers)| Context {
            node,
            retained: heap.retained(node),
            variables: variables(snapshot, node)
                .map(|(name, value)| (snapshot.strings.text(name).into_owned(), value))
                .collect(),
            functions: retainers
                .into_iter()
                .map(|edge| snapshot.edge_from(edge))
                .filter(|from| snapshot.kind(*from) == NodeKind::Closure)
                .collect(),
        })
        .collect()
}

/// Name and value of each captured variable.
fn variables(snapshot: &Snapshot, context: Node) -> impl Iterator<Item = (u32, Node)> {
    snapshot
        .edges(context)
        .filter(|edge| snapshot.edges.kind(edge.0) == EdgeKind::Context)
        .map(|edge| (snapshot.edges.name(edge.0), snapshot.edge_to(edge)))
}

/// Dead captured variables, the largest first. `None` if the snapshot has no tables of scopes.
pub fn dead(heap: &Heap) -> Option<Vec<DeadVariable>> {
    if !heap.snapshot.has_scopes() {
        return None;
    }
    let snapshot = &heap.snapshot;
    let scopes = Scopes::of(snapshot)?;
    let living = living(snapshot);
    let (scripts, functions) = of_scope_infos(snapshot);
    let mut found = Vec::new();
    for context in snapshot.nodes() {
        if !is_context(snapshot.raw_name(context.0)) {
            continue;
        }
        let follow = |node, name| snapshot.follow(node, EdgeKind::Internal, name);
        let Some(info) = follow(context, "scope_info") else {
            continue;
        };
        let id = follow(info, "scope_id").and_then(|id| number(snapshot, id));
        let script = resolve(snapshot, &scripts, info);
        let (Some(id), Some(script)) = (id, script) else {
            continue;
        };
        let Some(scope) = scopes.by_id.get(&(script.0, id)) else {
            continue;
        };
        for (name, value) in variables(snapshot, context) {
            let declared = scopes.all[*scope].variables.clone();
            let mut declared = declared.filter(|variable| scopes.variables[*variable].0 == name);
            let Some(variable) = declared.next() else {
                continue;
            };
            let is_read = scopes.variables[variable].1.iter().any(|using| {
                scopes.outwards(*using).any(|scope| {
                    let scope = &scopes.all[scope];
                    living
                        .get(&(scope.script, scope.id))
                        .is_some_and(|contexts| contexts.contains(&context.0))
                })
            });
            if !is_read {
                found.push(DeadVariable {
                    name: snapshot.strings.text(name).into_owned(),
                    context,
                    value,
                    retained: heap.retained(value),
                    function: functions.get(&info.0).cloned().unwrap_or_default(),
                    script: script_name(snapshot, script),
                });
            }
        }
    }
    found.sort_by_key(|variable| (std::cmp::Reverse(variable.retained), variable.context));
    Some(found)
}

/// The tables: a tree of scopes per script, their variables, and who reads them.
struct Scopes {
    all: Vec<Scope>,
    by_id: FxHashMap<(u32, i64), usize>,
    /// Name of each variable and the scopes that read it.
    variables: Vec<(u32, Vec<usize>)>,
}

struct Scope {
    script: u32,
    id: i64,
    parent: Option<usize>,
    variables: std::ops::Range<usize>,
    uses: std::ops::Range<usize>,
}

impl Scopes {
    /// `None` if the tables do not name the columns that are needed.
    fn of(snapshot: &Snapshot) -> Option<Self> {
        let [scopes, variables, uses] = &snapshot.scopes;
        let meta = &snapshot.meta;
        let column = |table: &Table, fields: &Fields, name: &str| {
            fields.find(name).filter(|column| *column < table.fields)
        };
        let script = column(scopes, &meta.scopes, "script_node_index")?;
        let id = column(scopes, &meta.scopes, "scope_id")?;
        let depth = column(scopes, &meta.scopes, "depth")?;
        let variable_count = column(scopes, &meta.scopes, "scope_context_vars_count")?;
        let use_count = column(scopes, &meta.scopes, "scope_uses_count")?;
        let name = column(variables, &meta.scope_variables, "name")?;
        let declaring = column(uses, &meta.scope_uses, "declaring_scope_id")?;
        let slot = column(uses, &meta.scope_uses, "slot_index")?;
        let mut found = Self {
            all: Vec::new(),
            by_id: FxHashMap::default(),
            variables: variables
                .values
                .chunks_exact(variables.fields)
                .map(|row| (row[name], Vec::new()))
                .collect(),
        };
        let uses: Vec<&[u32]> = uses.values.chunks_exact(uses.fields).collect();
        let (mut next_variable, mut next_use) = (0, 0);
        let mut stack: Vec<usize> = Vec::new();
        for row in scopes.values.chunks_exact(scopes.fields) {
            let range = |next: &mut usize, count: u32, most: usize| {
                let start = (*next).min(most);
                *next = start.saturating_add(count as usize).min(most);
                start..*next
            };
            let variables = range(
                &mut next_variable,
                row[variable_count],
                found.variables.len(),
            );
            let used = range(&mut next_use, row[use_count], uses.len());
            let index = found.all.len();
            let script = row[script] / meta.nodes.fields as u32;
            let same_script = found.all.last().is_some_and(|last| last.script == script);
            if !same_script {
                stack.clear();
            }
            // A damaged depth makes a scope without parent instead of an error.
            stack.truncate(row[depth] as usize);
            let id = i64::from(row[id].cast_signed());
            found.all.push(Scope {
                script,
                id,
                parent: stack.last().copied(),
                variables,
                uses: used,
            });
            found.by_id.insert((script, id), index);
            stack.push(index);
        }
        for index in 0..found.all.len() {
            let (script, used) = (found.all[index].script, found.all[index].uses.clone());
            for row in &uses[used] {
                let id = i64::from(row[declaring].cast_signed());
                let variable = found.by_id.get(&(script, id)).and_then(|scope| {
                    let variables = &found.all[*scope].variables;
                    let at = variables.start.checked_add(row[slot] as usize)?;
                    (at < variables.end).then_some(at)
                });
                if let Some(variable) = variable
                    && !found.variables[variable].1.contains(&index)
                {
                    found.variables[variable].1.push(index);
                }
            }
        }
        Some(found)
    }

    /// A scope and those around it.
    fn outwards(&self, scope: usize) -> impl Iterator<Item = usize> {
        let mut next = Some(scope);
        std::iter::from_fn(move || {
            let current = next?;
            // Parents stand before their children.
            next = self.all[current].parent.filter(|parent| *parent < current);
            Some(current)
        })
    }
}

/// Of every function that lives, by script and scope: the contexts that its closures reach.
fn living(snapshot: &Snapshot) -> FxHashMap<(u32, i64), FxHashSet<u32>> {
    let follow = |node, name| snapshot.follow(node, EdgeKind::Internal, name);
    let mut found: FxHashMap<(u32, i64), FxHashSet<u32>> = FxHashMap::default();
    for closure in snapshot.nodes() {
        if snapshot.kind(closure) != NodeKind::Closure {
            continue;
        }
        let shared = follow(closure, "shared");
        let script = shared.and_then(|shared| follow(shared, "script"));
        let id = shared
            .and_then(|shared| follow(shared, "scope_id"))
            .and_then(|id| number(snapshot, id));
        let (Some(script), Some(id)) = (script, id) else {
            continue;
        };
        let contexts = found.entry((script.0, id)).or_default();
        let mut context = follow(closure, "context");
        while let Some(current) = context
            && is_context(snapshot.raw_name(current.0))
            && contexts.insert(current.0)
        {
            context = follow(current, "previous");
        }
    }
    found
}

/// Scripts and names of the functions that refer to scope infos.
fn of_scope_infos(snapshot: &Snapshot) -> (FxHashMap<u32, Node>, FxHashMap<u32, String>) {
    const SHARED: &str = "system / SharedFunctionInfo";
    let follow = |node, name| snapshot.follow(node, EdgeKind::Internal, name);
    let (mut scripts, mut names) = (FxHashMap::default(), FxHashMap::default());
    for shared in snapshot.nodes() {
        if !snapshot.raw_name(shared.0).starts_with(SHARED.as_bytes()) {
            continue;
        }
        if let (Some(info), Some(script)) = (
            follow(shared, "name_or_scope_info"),
            follow(shared, "script"),
        ) && snapshot.raw_name(info.0) == b"system / ScopeInfo"
            && snapshot.raw_name(script.0).starts_with(b"system / Script")
        {
            scripts.insert(info.0, script);
            let name = snapshot.name(shared);
            let name = name.strip_prefix(SHARED).unwrap_or_default();
            let name = name.strip_prefix(" / ").unwrap_or_default();
            names.insert(info.0, name.to_owned());
        }
    }
    (scripts, names)
}

/// The script of a scope info, its own or that of one around it.
fn resolve(snapshot: &Snapshot, known: &FxHashMap<u32, Node>, info: Node) -> Option<Node> {
    const DEEPEST: usize = 1000;
    let mut current = info;
    for _ in 0..DEEPEST {
        if let Some(script) = known.get(&current.0) {
            return Some(*script);
        }
        current = snapshot.follow(current, EdgeKind::Internal, "outer_scope_info")?;
    }
    None
}

fn script_name(snapshot: &Snapshot, script: Node) -> String {
    let name = snapshot.name(script);
    match name.strip_prefix("system / Script / ") {
        Some(name) => name.to_owned(),
        None => snapshot
            .follow(script, EdgeKind::Internal, "source_url")
            .map_or_else(String::new, |name| snapshot.name(name).into_owned()),
    }
}

/// The value of a number's node, where values are in the snapshot.
pub(crate) fn number(snapshot: &Snapshot, node: Node) -> Option<i64> {
    if snapshot.kind(node) != NodeKind::Number || snapshot.raw_name(node.0) != b"int" {
        return None;
    }
    let value = snapshot.follow(node, EdgeKind::Internal, "value")?;
    snapshot.name(value).parse().ok()
}
