//! The Model Context Protocol over streamable HTTP: rmcp's server with its sessions, behind axum, asked over loopback.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use plimsoll::memory_testing::{Operation, Payload, Service, ServiceError, ServiceType};
use plimsoll::{Gauges, Registration};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, JsonObject,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::books::Books;
use crate::{Engine, Setup, admit, mix};

/// Tools registered at once, those that are always there included.
const TOOLS: u64 = 16;
/// Sessions that a gateway of this size is meant for.
const SESSIONS: u64 = 64;

/// The service.
#[derive(Debug)]
pub struct McpGateway(Setup);

impl McpGateway {
    /// Set up so.
    pub fn new(setup: Setup) -> Self {
        Self(setup)
    }
}

/// What each session is served by.
#[derive(Clone)]
struct Gateway {
    tools: Arc<RwLock<BTreeMap<String, Tool>>>,
}

impl ServerHandler for Gateway {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.tools.read().unwrap_or_else(PoisonError::into_inner);
        Ok(ListToolsResult::with_all_items(
            tools.values().cloned().collect(),
        ))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let text = match arguments.get("text").and_then(|text| text.as_str()) {
            Some(text) => format!("{} lines", text.lines().count()),
            None => {
                let number = arguments.get("number").and_then(|number| number.as_u64());
                answer(number.unwrap_or_default())
            }
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}

/// As long as its number is unlucky.
fn answer(number: u64) -> String {
    let words = 10 + mix(number) % 50;
    (0..words)
        .map(|word| format!("{:x} ", mix(number + word)))
        .collect()
}

fn tool(name: &str) -> Tool {
    let schema: JsonObject =
        json!({"type": "object", "properties": {"number": {"type": "integer"}}})
            .as_object()
            .cloned()
            .unwrap_or_default();
    Tool::new(
        name.to_owned(),
        format!("answers what {name} is"),
        Arc::new(schema),
    )
}

/// The service while it runs.
pub struct Running {
    engine: Engine,
    address: SocketAddr,
    gateway: Gateway,
    /// The session that calls are made in.
    session: String,
    requests: Arc<AtomicU64>,
    server: JoinHandle<()>,
    books: Books,
    _gauges: [Registration; 2],
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What came back.
struct Reply {
    session: Option<String>,
    text: String,
}

/// One request on a connection of its own.
async fn ask(
    address: SocketAddr,
    method: &str,
    session: Option<&str>,
    body: &str,
) -> Result<Reply, ServiceError> {
    let mut stream = TcpStream::connect(address).await?;
    let session = session.map_or(String::new(), |id| format!("Mcp-Session-Id: {id}\r\n"));
    let head = format!(
        "{method} /mcp HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAccept: application/json, text/event-stream\r\n\
         Content-Type: application/json\r\n{session}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    // Who refuses a body may hang up before its end; what it said counts.
    let sent = stream.write_all(body.as_bytes()).await;
    let mut reply = Vec::new();
    let read = stream.read_to_end(&mut reply).await;
    let text = String::from_utf8_lossy(&reply).into_owned();
    let status = text.split(' ').nth(1).unwrap_or_default();
    if !status.starts_with('2') {
        sent?;
        read?;
        return Err(format!("{method} was answered with {status}").into());
    }
    let session = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("mcp-session-id")
            .then(|| value.trim().to_owned())
    });
    Ok(Reply { session, text })
}

fn request(id: u64, method: &str, params: serde_json::Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

async fn open_session(address: SocketAddr, id: u64) -> Result<String, ServiceError> {
    let params = json!({
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": format!("client {id}"), "version": "1"}
    });
    let reply = ask(address, "POST", None, &request(id, "initialize", params)).await?;
    let session = reply.session.ok_or("no session was opened")?;
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
    ask(address, "POST", Some(&session), &ready).await?;
    Ok(session)
}

impl Running {
    async fn result(&self, session: &str, body: &str) -> Result<String, ServiceError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let text = match self.engine {
            Engine::Real => ask(self.address, "POST", Some(session), body).await?.text,
            Engine::Removed => String::new(),
        };
        if !text.contains("\"result\"") {
            return Err(format!("no result: {text:.200}").into());
        }
        Ok(text)
    }

    async fn call(&self, number: u64) -> Result<String, ServiceError> {
        let params = json!({"name": "clock", "arguments": {"number": number}});
        self.result(&self.session, &request(number, "tools/call", params))
            .await
    }

    async fn session(&self, number: u64) -> Result<String, ServiceError> {
        let session = open_session(self.address, number).await?;
        let listed = self
            .result(&session, &request(number, "tools/list", json!({})))
            .await;
        ask(self.address, "DELETE", Some(&session), "").await?;
        listed
    }

    async fn register(&self, number: u64) -> Result<String, ServiceError> {
        let name = format!("tool {}", number % (2 * TOOLS));
        {
            let mut tools = self
                .gateway
                .tools
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            tools.insert(name.clone(), tool(&name));
            if tools.len() as u64 > TOOLS {
                tools.pop_last();
            }
        }
        self.result(&self.session, &request(number, "tools/list", json!({})))
            .await
    }
}

impl Service for McpGateway {
    type Running = Running;

    fn service_type(&self) -> ServiceType {
        ServiceType::McpGateway
    }

    fn operations(&self) -> Vec<&'static str> {
        vec!["call", "session", "register"]
    }

    fn warm_up_operations(&self) -> u64 {
        Books::WARM_UP
    }

    async fn start(&self) -> Result<Running, ServiceError> {
        let tools: BTreeMap<String, Tool> = (0..TOOLS)
            .map(|n| {
                let name = if n == 0 {
                    "clock".to_owned()
                } else {
                    format!("tool {n}")
                };
                let tool = tool(&name);
                (name, tool)
            })
            .collect();
        let gateway = Gateway {
            tools: Arc::new(RwLock::new(tools)),
        };
        let sessions = Arc::new(LocalSessionManager::default());
        let served = gateway.clone();
        let service = StreamableHttpService::new(
            move || Ok(served.clone()),
            Arc::clone(&sessions),
            StreamableHttpServerConfig::default(),
        );
        let router = axum::Router::new().nest_service("/mcp", service);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        let session = open_session(address, 0).await?;
        let connected = plimsoll::gauge("sessions", move || Gauges {
            connections: sessions
                .sessions
                .try_read()
                .ok()
                .map(|sessions| sessions.len() as u64),
            capacity: Some(SESSIONS),
            ..Gauges::default()
        });
        let of = Arc::clone(&gateway.tools);
        let registered = plimsoll::gauge("tools", move || Gauges {
            entries: of.read().ok().map(|tools| tools.len() as u64),
            ..Gauges::default()
        });
        Ok(Running {
            engine: self.0.engine,
            address,
            gateway,
            session,
            requests: Arc::default(),
            server,
            books: Books::open(self.0.leak),
            _gauges: [connected, registered],
        })
    }

    async fn operate(&self, running: &Running, asked: &Operation) -> Result<u64, ServiceError> {
        let number = asked.number;
        let answer = match asked.kind {
            "call" => running.call(number).await?,
            "session" => running.session(number).await?,
            _ => running.register(number).await?,
        };
        Ok(running.books.answered(number, answer).await)
    }

    async fn process(&self, running: &Running, payload: &Payload) -> Result<u64, ServiceError> {
        // The request, its text as JSON on either side, and the buffers between, which double as they grow; what each worker's
        // arena keeps of the last one is no room for the next.
        admit(24 * payload.text.len())?;
        let params = json!({"name": "clock", "arguments": {"text": payload.text}});
        let body = request(payload.number, "tools/call", params);
        let answer = running.result(&running.session, &body).await?;
        running.books.record(payload.number, vec![1; 900]).await;
        Ok(answer.len() as u64)
    }

    async fn stop(&self, running: &Running) {
        // A client that goes says so.
        let _ = ask(running.address, "DELETE", Some(&running.session), "").await;
    }
}
