//! The description of the endpoints says which there are.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::Value;

use super::*;

const DESCRIPTION: &str = include_str!("../../../../docs/openapi.json");
const ROUTER: &str = include_str!("../lib.rs");

#[test]
fn every_route_is_described_and_every_description_is_a_route() {
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
    let described: BTreeSet<String> = description["paths"].as_object().unwrap().keys().cloned().collect();
    let routes = ROUTER.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let routes: BTreeSet<String> = routes.map(|route| route.replace("{*", "{")).collect();
    assert_eq!(described, routes);
}

#[tokio::test]
async fn methods_are_those_of_the_description() {
    let server = writing(HttpOptions::default(), |_| Ok(()));
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
    for (path, methods) in description["paths"].as_object().unwrap() {
        let uri = path.replace("{id}", "x");
        // HEAD goes with GET but for /query.
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let request = Request::builder()
                .method(Method::from_bytes(method.as_bytes()).unwrap())
                .uri(&uri)
                .body(Body::empty())
                .unwrap();
            let (status, ..) = send(&server, request).await;
            let is_described = methods.get(method.to_ascii_lowercase()).is_some();
            assert_eq!(status != StatusCode::METHOD_NOT_ALLOWED, is_described, "{method} {path}: {status}");
            let documented = &methods[method.to_ascii_lowercase()]["responses"];
            if is_described {
                assert!(!documented[status.as_str()].is_null(), "{method} {path} answers {status}");
            }
        }
    }
}
