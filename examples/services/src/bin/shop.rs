//! A shop over HTTP, to be looked at from outside: axum, and jemalloc beneath the allocator that counts.
//!
//!     plimsoll check --url http://127.0.0.1:8080/cart -- shop leaky 8080
//!
//! Every visit opens a cart. `leaky` keeps them all; `fixed` throws out the oldest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use plimsoll::{Scope, Scoped};
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Scoped<Jemalloc> = Scoped::over(Jemalloc);

/// Carts that the fixed shop keeps.
const CARTS: usize = 500;

struct Cart {
    items: Vec<u8>,
}

struct Shop {
    carts: Mutex<BTreeMap<u64, Cart>>,
    /// What carts take is counted to it.
    scope: Scope,
    bound: Option<usize>,
}

async fn visit(State(shop): State<Arc<Shop>>) -> String {
    let mut carts = shop.carts.lock().unwrap_or_else(PoisonError::into_inner);
    shop.scope.run(|| {
        let number = carts.last_key_value().map_or(0, |(last, _)| last + 1);
        carts.insert(number, open_cart(number));
        if shop.bound.is_some_and(|bound| carts.len() > bound) {
            carts.pop_first();
        }
        let items: usize = carts
            .values()
            .rev()
            .take(3)
            .map(|cart| cart.items.len())
            .sum();
        format!("cart {number}; the last three hold {items} items\n")
    })
}

fn open_cart(number: u64) -> Cart {
    Cart {
        items: vec![number as u8; 300],
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, port] = arguments.as_slice() else {
        bail!("two arguments are wanted: `leaky` or `fixed`, and a port");
    };
    let bound = match kind.as_str() {
        "leaky" => None,
        "fixed" => Some(CARTS),
        other => bail!("'{other}' is neither `leaky` nor `fixed`"),
    };
    let port: u16 = port.parse().context("the port")?;
    let shop = Shop {
        carts: Mutex::default(),
        scope: Scope::open("carts")?,
        bound,
    };
    let router = Router::new()
        .route("/cart", get(visit))
        .with_state(Arc::new(shop));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, router).await?;
    Ok(())
}
