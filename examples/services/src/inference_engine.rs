//! Inference: a small classifier with attention in candle with its tokenizer, weights in safetensors files loaded and cached by
//! version, texts that come at once run as a batch; and a provider over HTTP for what is not run here.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, to_bytes};
use axum::routing::post;
use candle_core::{D, Device, Tensor};
use candle_nn::{Embedding, Linear, Module, ops::softmax};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use plimsoll::memory_testing::{Operation, Payload, Service, ServiceError, ServiceType};
use plimsoll::{Gauges, Registration};
use rayon::{ThreadPool, ThreadPoolBuilder};
use tempfile::TempDir;
use tokenizers::Tokenizer;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::books::Books;
use crate::{Engine, Setup, admit, mix};

/// Tokens that the tokenizer is trained to at most, and rows of the model's embedding.
const TOKENS: usize = 512;
/// Features of a token, and of the layer between.
const FEATURES: usize = 32;
/// What a text can be about.
const CLASSES: usize = 8;
/// Texts of a batch.
const BATCH: u64 = 8;
/// Tokens of a text that are run at once, and after how many the rest of a text is not read: models have a window.
const CONTEXT: usize = 64;
const WINDOW: usize = 2_048;
/// Versions of the model that exist, and how many of them are kept loaded.
const VERSIONS: u64 = 3;
const LOADED: usize = 2;
/// Threads that compute.
const THREADS: usize = 2;
/// Connections to the provider that are kept.
const CONNECTIONS: usize = 4;
/// Longest answer of the provider.
const LONGEST: usize = 64 * 1024;

/// The service.
#[derive(Debug)]
pub struct InferenceEngine(Setup);

impl InferenceEngine {
    /// Set up so.
    pub fn new(setup: Setup) -> Self {
        Self(setup)
    }
}

struct Model {
    words: Embedding,
    hidden: Linear,
    output: Linear,
    bytes: u64,
}

impl Model {
    /// Weights from a number: they say nothing, but are computed with as any others.
    fn write(path: &Path, version: u64) -> Result<(), ServiceError> {
        let tensor = |rows: usize, columns: usize, salt: u64| {
            let weight = |at: usize| (mix(salt + at as u64) % 2001) as f32 / 1000.0 - 1.0;
            let weights: Vec<f32> = (0..rows * columns).map(weight).collect();
            Tensor::from_vec(weights, (rows, columns), &Device::Cpu)
        };
        let salt = version * 1_000_000;
        let tensors = HashMap::from([
            ("words", tensor(TOKENS, FEATURES, salt)?),
            ("hidden", tensor(FEATURES, FEATURES, salt + 100_000)?),
            ("output", tensor(CLASSES, FEATURES, salt + 200_000)?),
        ]);
        Ok(candle_core::safetensors::save(&tensors, path)?)
    }

    fn load(path: &Path) -> Result<Self, ServiceError> {
        let mut tensors = candle_core::safetensors::load(path, &Device::Cpu)?;
        let bytes = tensors
            .values()
            .map(|tensor| 4 * tensor.elem_count() as u64)
            .sum();
        let mut take = |name: &str| tensors.remove(name).ok_or(format!("{name} is missing"));
        Ok(Self {
            words: Embedding::new(take("words")?, FEATURES),
            hidden: Linear::new(take("hidden")?, None),
            output: Linear::new(take("output")?, None),
            bytes,
        })
    }

    /// What each text is about, and how surely.
    fn infer(&self, texts: &[Vec<u32>]) -> Result<Vec<(usize, f32)>, ServiceError> {
        let embedded = texts.iter().map(|tokens| self.attend(tokens));
        let batch = Tensor::stack(&embedded.collect::<Result<Vec<_>, _>>()?, 0)?;
        let hidden = self.hidden.forward(&batch)?.relu()?;
        let classes = softmax(&self.output.forward(&hidden)?, D::Minus1)?;
        let best = |row: Vec<f32>| {
            let all = row.into_iter().enumerate();
            all.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default()
        };
        Ok(classes.to_vec2::<f32>()?.into_iter().map(best).collect())
    }

    /// One text as a row of features: its tokens look at each other, piece by piece.
    fn attend(&self, tokens: &[u32]) -> candle_core::Result<Tensor> {
        let mut sum = Tensor::zeros(FEATURES, candle_core::DType::F32, &Device::Cpu)?;
        for piece in tokens.chunks(CONTEXT) {
            let words = self.words.forward(&Tensor::new(piece, &Device::Cpu)?)?;
            let scores = (words.matmul(&words.t()?)? / (FEATURES as f64).sqrt())?;
            let seen = softmax(&scores, D::Minus1)?.matmul(&words)?;
            sum = (sum + seen.mean(0)?)?;
        }
        sum / tokens.chunks(CONTEXT).len().max(1) as f64
    }
}

/// Byte pairs, learned from texts like those that will come.
fn tokenizer() -> Result<Tokenizer, ServiceError> {
    // A cache of words that have been seen is bounded, and full after ten thousand of them: none, to be settled from the start.
    let mut tokenizer = Tokenizer::new(BPE::builder().cache_capacity(0).build()?);
    tokenizer.with_pre_tokenizer(Some(WhitespaceSplit));
    let mut trainer: TrainerWrapper = BpeTrainer::builder()
        .vocab_size(TOKENS)
        .show_progress(false)
        .build()
        .into();
    tokenizer.train(&mut trainer, (0..60).map(text_of))?;
    Ok(tokenizer)
}

fn text_of(number: u64) -> String {
    let words = 5 + mix(number) % 40;
    (0..words)
        .map(|word| format!("w{} ", mix(number + word) % 900))
        .collect()
}

#[derive(Default)]
struct Models {
    loaded: Mutex<VecDeque<(u64, Arc<Model>)>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

type Connection = SendRequest<Body>;

/// The service while it runs.
pub struct Running {
    engine: Engine,
    tokenizer: Tokenizer,
    /// What computes. Its threads keep room for matrices as long as they live: they end with the service.
    threads: ThreadPool,
    models: Arc<Models>,
    provider: SocketAddr,
    idle: Arc<Mutex<Vec<Connection>>>,
    server: JoinHandle<()>,
    books: Books,
    _gauges: [Registration; 2],
    folder: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    fn path(&self, version: u64) -> PathBuf {
        self.folder.path().join(format!("{version}.safetensors"))
    }

    fn model(&self, version: u64) -> Result<Arc<Model>, ServiceError> {
        let mut loaded = lock(&self.models.loaded);
        if let Some((_, model)) = loaded.iter().find(|(known, _)| *known == version) {
            self.models.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(Arc::clone(model));
        }
        self.models.misses.fetch_add(1, Ordering::Relaxed);
        let model = Arc::new(Model::load(&self.path(version))?);
        loaded.push_back((version, Arc::clone(&model)));
        if loaded.len() > LOADED {
            loaded.pop_front();
        }
        Ok(model)
    }

    /// Line by line: what the tokenizer knows of a token is thirty times as long as the token.
    fn tokens(&self, text: &str) -> Result<Vec<u32>, ServiceError> {
        let mut tokens = Vec::new();
        for line in text.lines() {
            tokens.extend_from_slice(self.tokenizer.encode_fast(line, false)?.get_ids());
            if tokens.len() >= WINDOW {
                break;
            }
        }
        Ok(tokens)
    }

    /// A line for each text.
    fn infer(&self, texts: &[String], version: u64) -> Result<String, ServiceError> {
        let answers = self.engine.ask(|| {
            let tokens = texts.iter().map(|text| self.tokens(text));
            let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
            let model = self.model(version)?;
            self.threads.install(|| model.infer(&tokens))
        })?;
        if answers.len() != texts.len() {
            return Err(format!("{} of {} texts answered", answers.len(), texts.len()).into());
        }
        let lines = texts.iter().zip(answers);
        Ok(lines
            .map(|(text, (class, surely))| format!("{class} {surely:.3} {text}\n"))
            .collect())
    }

    /// Asks the provider over a connection that is kept.
    async fn complete(&self, number: u64) -> Result<String, ServiceError> {
        let prompt = text_of(number);
        let answer = match self.engine {
            Engine::Real => self.post(prompt.clone()).await?,
            Engine::Removed => String::new(),
        };
        if !answer.chars().eq(prompt.chars().rev()) {
            return Err(format!("the provider answered with {answer:?}").into());
        }
        Ok(answer)
    }

    async fn post(&self, prompt: String) -> Result<String, ServiceError> {
        let idle = lock(&self.idle).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(self.provider).await?;
                let (connection, driver) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(driver);
                connection
            }
        };
        let request = hyper::Request::post("/complete")
            .header("host", "provider")
            .body(Body::from(prompt))?;
        connection.ready().await?;
        let answer = connection.send_request(request).await?;
        if !answer.status().is_success() {
            return Err(format!("the provider answered with {}", answer.status()).into());
        }
        let bytes = to_bytes(Body::new(answer.into_body()), LONGEST).await?;
        let mut idle = lock(&self.idle);
        if idle.len() < CONNECTIONS {
            idle.push(connection);
        }
        Ok(String::from_utf8(bytes.into())?)
    }
}

/// A provider on this machine: says what it was asked, backwards.
async fn provide(listener: TcpListener) {
    let backwards = |prompt: String| async move { prompt.chars().rev().collect::<String>() };
    let router = axum::Router::new().route("/complete", post(backwards));
    let _ = axum::serve(listener, router).await;
}

impl Service for InferenceEngine {
    type Running = Running;

    fn service_type(&self) -> ServiceType {
        ServiceType::InferenceEngine
    }

    fn operations(&self) -> Vec<&'static str> {
        vec!["infer", "batch", "load model", "provider"]
    }

    fn warm_up_operations(&self) -> u64 {
        Books::WARM_UP
    }

    async fn start(&self) -> Result<Running, ServiceError> {
        let folder = TempDir::new()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let provider = listener.local_addr()?;
        let models = Arc::new(Models::default());
        let of = Arc::clone(&models);
        let cache = plimsoll::gauge("models", move || {
            let loaded = lock(&of.loaded);
            Gauges {
                entries: Some(loaded.len() as u64),
                bytes: Some(loaded.iter().map(|(_, model)| model.bytes).sum()),
                capacity: Some(LOADED as u64),
                hits: Some(of.hits.load(Ordering::Relaxed)),
                misses: Some(of.misses.load(Ordering::Relaxed)),
                ..Gauges::default()
            }
        });
        let idle = Arc::new(Mutex::new(Vec::<Connection>::with_capacity(CONNECTIONS)));
        let of = Arc::clone(&idle);
        let connections = plimsoll::gauge("provider", move || Gauges {
            connections: of.lock().ok().map(|idle| idle.len() as u64),
            capacity: Some(CONNECTIONS as u64),
            ..Gauges::default()
        });
        let threads = ThreadPoolBuilder::new().num_threads(THREADS).build()?;
        let running = Running {
            engine: self.0.engine,
            tokenizer: threads.install(tokenizer)?,
            threads,
            models,
            provider,
            idle,
            server: tokio::spawn(provide(listener)),
            books: Books::open(self.0.leak),
            _gauges: [cache, connections],
            folder,
        };
        for version in 0..VERSIONS {
            Model::write(&running.path(version), version)?;
            running.model(version)?;
        }
        Ok(running)
    }

    async fn operate(&self, running: &Running, asked: &Operation) -> Result<u64, ServiceError> {
        let number = asked.number;
        let newest = VERSIONS - 1;
        let answer = match asked.kind {
            "infer" => running.infer(&[text_of(number)], newest)?,
            "batch" => {
                let texts: Vec<_> = (0..BATCH).map(|at| text_of(number + at)).collect();
                running.infer(&texts, newest)?
            }
            "load model" => running.infer(&[text_of(number)], number % VERSIONS)?,
            _ => running.complete(number).await?,
        };
        Ok(running.books.answered(number, answer).await)
    }

    async fn process(&self, running: &Running, payload: &Payload) -> Result<u64, ServiceError> {
        // The tokens of a window, and the text in the answer, which doubles.
        admit(3 * payload.text.len() + 64 * WINDOW)?;
        let answer = running.infer(std::slice::from_ref(&payload.text), VERSIONS - 1)?;
        running.books.record(payload.number, vec![1; 900]).await;
        Ok(answer.len() as u64)
    }
}
