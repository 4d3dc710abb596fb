use super::*;

fn line(text: &str) -> Result<(Said, String), LineError> {
    let mut out = String::new();
    read_line(text, &mut out).map(|said| (said, out))
}

#[test]
fn lines() {
    let point = |bad_tags, text: &str| Ok((Said::Point { bad_tags }, format!("{text}\n")));
    for (text, expected) in [
        ("put cpu 1356998400 42.5 host=a cpu=0", point(0, "cpu,cpu=0,host=a value=42.5 1356998400000000000")),
        ("put ms 1356998400250 1 host=a", point(0, "ms,host=a value=1 1356998400250000000")),
        ("put  none   1356998400 1", point(0, "none value=1 1356998400000000000")),
        ("put bad 1356998400 1 host host= =a b=c=d", point(3, "bad,b=c\\=d value=1 1356998400000000000")),
        ("put twice 1356998400 1 a=b a=c", point(0, "twice,a=c value=1 1356998400000000000")),
        ("put old -999999999 1 a=b", point(0, "old,a=b value=1 -999999999000000000")),
        ("version", Ok((Said::Version, String::new()))),
        ("", Err(LineError::Line)),
        ("version x", Err(LineError::Line)),
        ("PUT cpu 1356998400 1", Err(LineError::Line)),
        ("put cpu 1356998400", Err(LineError::Line)),
        ("put cpu 12 1", Err(LineError::Time)),
        ("put cpu 135699840.5 1", Err(LineError::Time)),
        ("put cpu 13569984000 1", Err(LineError::Time)),
        ("put cpu 1356998400 x", Err(LineError::Float)),
        ("put cpu 1356998400 nan", Err(LineError::Float)),
        ("put cpu 1356998400 +Inf", Err(LineError::Float)),
        ("put cpu 9999999999 1", Err(LineError::Point)),
    ] {
        assert_eq!(line(text), expected, "{text}");
    }
}

#[test]
fn json() {
    let printed = |body: &str| {
        let mut out = String::new();
        print_json(body.as_bytes(), &mut out).map(|printed| (printed.points, printed.invalid, out))
    };
    let good = r#"{"metric":"h","timestamp":1356998400,"value":1.5,"tags":{"host":"a","none":"","no":null},"more":[]} trailing"#;
    assert_eq!(printed(good), Ok((1, 0, "h,host=a value=1.5 1356998400000000000\n".to_owned())));
    let list = r#"[{"metric":"a","timestamp":1356998400123,"value":2},{"metric":"b"},{"value":1},{"metric":"c","tags":{"":"x"}},{"metric":"d","timestamp":9223372036854775807}]"#;
    let lines = "a value=2 1356998400123000000\nb value=0 0\n".to_owned();
    assert_eq!(printed(list), Ok((2, 3, lines)));
    assert_eq!(printed("[]"), Ok((0, 0, String::new())));
    for (body, error) in [
        ("", JsonError::Empty),
        (" []", JsonError::Kind),
        ("[1]", JsonError::Array),
        ("[{\"value\":\"7\"}]", JsonError::Array),
        ("{", JsonError::Object),
        ("{\"timestamp\":1.5}", JsonError::Object),
    ] {
        assert_eq!(printed(body), Err(error), "{body}");
    }
}
