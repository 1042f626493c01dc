//! The attribute `#[plimsoll::test]`. Use it from the crate `plimsoll`, which explains it.
//!
//! A function without parameters is all it has to understand, so that it reads tokens itself: a parser of the whole language would be
//! built before every test that uses this.

use proc_macro::{Delimiter, Group, Ident, Literal, Span, TokenStream, TokenTree};

/// A test whose body is repeated, and may not keep memory: `plimsoll::test`.
#[proc_macro_attribute]
pub fn test(limits: TokenStream, function: TokenStream) -> TokenStream {
    let expanded = Limits::parse(limits).and_then(|limits| {
        let function = Function::parse(function)?;
        Ok(function.expand(&limits))
    });
    expanded.unwrap_or_else(Refusal::expand)
}

/// What is wrong, and where.
struct Refusal {
    at: Span,
    why: String,
}

impl Refusal {
    fn new(at: Span, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { at, why }
    }

    fn expand(self) -> TokenStream {
        let message = Literal::string(&self.why);
        let code = format!("::core::compile_error!{{{message}}}");
        spanned(&code, self.at)
    }
}

/// Code of our own, where the compiler is to point.
fn spanned(code: &str, at: Span) -> TokenStream {
    let tokens: TokenStream = code.parse().unwrap_or_default();
    let point = |mut token: TokenTree| {
        token.set_span(at);
        token
    };
    tokens.into_iter().map(point).collect()
}

/// What stands in the brackets of the attribute.
#[derive(Default)]
struct Limits {
    allocations: Option<TokenStream>,
    peak: Option<TokenStream>,
    block_on: Option<TokenStream>,
}

impl Limits {
    fn parse(given: TokenStream) -> Result<Self, Refusal> {
        let mut limits = Self::default();
        let mut rest = given.into_iter().peekable();
        while let Some(word) = rest.next() {
            let at = word.span();
            let name = word.to_string();
            let (slot, sign) = match name.as_str() {
                "allocations" => (&mut limits.allocations, "<="),
                "peak" => (&mut limits.peak, "<="),
                "block_on" => (&mut limits.block_on, "="),
                _ => {
                    let known = "`allocations <= N`, `peak <= BYTES`, `block_on = PATH`";
                    return Err(Refusal::new(
                        at,
                        format!("there is no limit `{name}`; there are: {known}"),
                    ));
                }
            };
            for expected in sign.chars() {
                if !matches!(rest.next(), Some(TokenTree::Punct(sign)) if sign.as_char() == expected)
                {
                    return Err(Refusal::new(at, format!("write `{name} {sign} …`")));
                }
            }
            let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(sign) if sign.as_char() == ',');
            let mut value = TokenStream::new();
            while let Some(token) = rest.next_if(|token| !is_comma(token)) {
                value.extend([token]);
            }
            rest.next();
            if value.is_empty() || slot.is_some() {
                return Err(Refusal::new(at, format!("write `{name} {sign} …`, once")));
            }
            *slot = Some(value);
        }
        Ok(limits)
    }
}

/// The function under the attribute.
struct Function {
    /// Other attributes, and its visibility.
    before: TokenStream,
    is_async: bool,
    name: Ident,
    body: Group,
}

impl Function {
    fn parse(function: TokenStream) -> Result<Self, Refusal> {
        let mut before = TokenStream::new();
        let mut is_async = false;
        let mut rest = function.into_iter();
        loop {
            match rest.next() {
                Some(TokenTree::Ident(word)) if word.to_string() == "fn" => break,
                Some(TokenTree::Ident(word)) if word.to_string() == "async" => is_async = true,
                Some(token) => before.extend([token]),
                None => {
                    return Err(Refusal::new(
                        Span::call_site(),
                        "only a function can be a test",
                    ));
                }
            }
        }
        let Some(TokenTree::Ident(name)) = rest.next() else {
            return Err(Refusal::new(Span::call_site(), "the function has no name"));
        };
        let at = name.span();
        match rest.next() {
            Some(TokenTree::Group(parameters))
                if parameters.delimiter() == Delimiter::Parenthesis
                    && parameters.stream().is_empty() => {}
            _ => return Err(Refusal::new(at, "a test has no parameters")),
        }
        match rest.next() {
            Some(TokenTree::Group(body)) if body.delimiter() == Delimiter::Brace => Ok(Self {
                before,
                is_async,
                name,
                body,
            }),
            _ => Err(Refusal::new(
                at,
                "the body is repeated, and what it returns is dropped: return nothing, and unwrap what can fail",
            )),
        }
    }

    fn expand(self, limits: &Limits) -> TokenStream {
        let mut run = TokenStream::new();
        // `let operation = || body;`, or `|| async body`.
        run.extend(code(if self.is_async {
            "let operation = || async"
        } else {
            "let operation = ||"
        }));
        run.extend([TokenTree::Group(self.body)]);
        run.extend(code(";"));
        let default = code("::plimsoll::block_on");
        let block_on = limits.block_on.as_ref().unwrap_or(&default);
        let once = if self.is_async {
            let mut once = code("||");
            once.extend(parenthesised(block_on.clone()));
            once.extend(code("(operation())"));
            once
        } else {
            code("operation")
        };
        for (assertion, limit) in [
            ("::plimsoll::assert_allocations!", &limits.allocations),
            ("::plimsoll::assert_peak!", &limits.peak),
        ] {
            let Some(limit) = limit else { continue };
            let mut given = code("<=");
            given.extend(limit.clone());
            given.extend(code(","));
            given.extend(once.clone());
            run.extend(code(assertion));
            run.extend(parenthesised(given));
            run.extend(code(";"));
        }
        if self.is_async {
            let mut given = block_on.clone();
            given.extend(code(", operation"));
            run.extend(code("::plimsoll::check_async"));
            run.extend(parenthesised(given));
            run.extend(code(".assert_no_leak();"));
        } else {
            run.extend(code("::plimsoll::assert_no_leak!(operation);"));
        }
        // The attribute of the language by its full name: `test` may be ours where the test is.
        let mut test = code("#[::core::prelude::v1::test]");
        test.extend(self.before);
        test.extend(code("fn"));
        test.extend([TokenTree::Ident(self.name)]);
        test.extend(code("()"));
        test.extend([TokenTree::Group(Group::new(Delimiter::Brace, run))]);
        test
    }
}

/// Code of our own.
fn code(code: &str) -> TokenStream {
    spanned(code, Span::call_site())
}

fn parenthesised(tokens: TokenStream) -> TokenStream {
    TokenTree::Group(Group::new(Delimiter::Parenthesis, tokens)).into()
}
