//! Scripts: rhai with a cache of compiled ones and a context each, and Lua with a virtual machine for each execution.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use plimsoll::memory_testing::{Operation, Payload, Service, ServiceError, ServiceType};
use plimsoll::{Gauges, Registration};
use rhai::{AST, Scope};

use crate::books::Books;
use crate::{Engine, Setup, admit, mix};

/// Compiled scripts kept.
const SCRIPTS: usize = 24;
/// What a virtual machine of Lua may take.
const VM_BYTES: usize = 8 << 20;

/// The service.
#[derive(Debug)]
pub struct ScriptEngine(Setup);

impl ScriptEngine {
    /// Set up so.
    pub fn new(setup: Setup) -> Self {
        Self(setup)
    }
}

#[derive(Default)]
struct Cache {
    scripts: Mutex<VecDeque<(u64, Arc<AST>)>>,
    hits: AtomicU64,
    misses: AtomicU64,
    /// Virtual machines that live.
    machines: AtomicU64,
}

/// The service while it runs.
pub struct Running {
    asked: Engine,
    rhai: rhai::Engine,
    cache: Arc<Cache>,
    books: Books,
    _gauges: [Registration; 2],
}

impl Running {
    fn compiled(&self, number: u64) -> Result<Arc<AST>, ServiceError> {
        let key = mix(number) % (2 * SCRIPTS as u64);
        let mut scripts = self
            .cache
            .scripts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, script)) = scripts.iter().find(|(known, _)| *known == key) {
            self.cache.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(Arc::clone(script));
        }
        self.cache.misses.fetch_add(1, Ordering::Relaxed);
        let script = Arc::new(self.rhai.compile(rhai_source(key))?);
        scripts.push_back((key, Arc::clone(&script)));
        if scripts.len() > SCRIPTS {
            scripts.pop_front();
        }
        Ok(script)
    }

    fn compile(&self, number: u64) -> Result<String, ServiceError> {
        let source = rhai_source(mix(number) % 5000);
        let script = self.rhai.compile(&source)?;
        Ok(format!(
            "{} functions, {source}",
            script.iter_functions().count()
        ))
    }

    fn execute(&self, number: u64) -> Result<String, ServiceError> {
        let script = self.compiled(number)?;
        let mut context = Scope::new();
        context.push("number", (mix(number) % 1000) as i64);
        Ok(self
            .rhai
            .eval_ast_with_scope::<String>(&mut context, &script)?)
    }

    fn lua(&self, number: u64) -> Result<String, ServiceError> {
        let _counted = Counted::new(&self.cache.machines);
        let vm = mlua::Lua::new();
        vm.set_memory_limit(VM_BYTES)?;
        let rows = 20 + mix(number) % 60;
        let answer: String = vm
            .load(format!(
                "local rows = {{}} for i = 1, {rows} do rows[i] = i .. ':' .. (i * {number}) end return table.concat(rows, ',')"
            ))
            .eval()?;
        Ok(answer)
    }
}

/// One more, as long as it lives.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A script of its own for each key.
fn rhai_source(key: u64) -> String {
    let steps = 3 + key % 7;
    let mut source = format!(
        "fn step(n) {{ n * {} + {key} }}\nlet text = \"script {key}\";\n",
        key + 3
    );
    for step in 0..steps {
        source += &format!("let v{step} = step(number + {step}); text += \",\" + v{step};\n");
    }
    source + "text"
}

impl Service for ScriptEngine {
    type Running = Running;

    fn service_type(&self) -> ServiceType {
        ServiceType::ScriptEngine
    }

    fn operations(&self) -> Vec<&'static str> {
        vec!["compile", "execute", "virtual machine"]
    }

    fn warm_up_operations(&self) -> u64 {
        Books::WARM_UP
    }

    async fn start(&self) -> Result<Running, ServiceError> {
        let mut rhai = rhai::Engine::new();
        rhai.set_max_operations(50_000_000);
        let cache = Arc::new(Cache::default());
        let of = Arc::clone(&cache);
        let scripts = plimsoll::gauge("script cache", move || Gauges {
            entries: of.scripts.lock().ok().map(|scripts| scripts.len() as u64),
            capacity: Some(SCRIPTS as u64),
            hits: Some(of.hits.load(Ordering::Relaxed)),
            misses: Some(of.misses.load(Ordering::Relaxed)),
            ..Gauges::default()
        });
        let of = Arc::clone(&cache);
        let machines = plimsoll::gauge("virtual machines", move || Gauges {
            entries: Some(of.machines.load(Ordering::Relaxed)),
            ..Gauges::default()
        });
        Ok(Running {
            asked: self.0.engine,
            rhai,
            cache,
            books: Books::open(self.0.leak),
            _gauges: [scripts, machines],
        })
    }

    async fn operate(&self, running: &Running, asked: &Operation) -> Result<u64, ServiceError> {
        let number = asked.number;
        let answer = running.asked.ask(|| match asked.kind {
            "compile" => running.compile(number),
            "execute" => running.execute(number),
            _ => running.lua(number),
        })?;
        if answer.is_empty() {
            return Err("a script answered with nothing".into());
        }
        let bytes = answer.len() as u64;
        running.books.record(number, answer.into_bytes()).await;
        Ok(bytes)
    }

    async fn process(&self, running: &Running, payload: &Payload) -> Result<u64, ServiceError> {
        // The text, its lines, and the array of them.
        admit(6 * payload.text.len())?;
        let mut context = Scope::new();
        context.push("text", payload.text.clone());
        let count = "let lines = text.split(\"\\n\"); lines.len";
        let lines = running
            .asked
            .ask(|| Ok(running.rhai.eval_with_scope::<i64>(&mut context, count)?))?;
        if lines == 0 {
            return Err("the script saw no line".into());
        }
        running
            .books
            .record(
                payload.number,
                payload.text.as_bytes()[..payload.text.len() / 64].to_vec(),
            )
            .await;
        Ok(lines as u64)
    }
}
