use super::*;

fn printed(templates: &[&str], tags: &[&str], line: &str) -> Result<String, LineError> {
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let parser = GraphiteParser::new(&own(templates), &own(tags), ".").expect("templates");
    let mut out = String::new();
    parser.print(line, 7, &mut out).map(|()| out)
}

#[test]
fn a_name_is_a_measurement_unless_a_template_says_more() {
    let templates = [
        "*.app env.service.resource.measurement",
        "servers.* .host.measurement*",
        "servers.localhost .host.measurement.field",
        "stats.* .host.measurement.field* dc=eu,host=x",
        "two.* .measurement.measurement.region.region",
    ];
    for (line, expected) in [
        ("cpu.load 1.5 100", "cpu.load value=1.5 100000000000\n"),
        ("cpu 1e3", "cpu value=1000 7\n"),
        ("cpu 1 -1", "cpu value=1 7\n"),
        ("cpu 1 10.5", "cpu value=1 10500000000\n"),
        ("cpu 1 -2", "cpu value=1 -2000000000\n"),
        ("prod.app.disk.used 3 1", "used,env=prod,resource=disk,service=app value=3 1000000000\n"),
        ("servers.a.cpu.load 3 1", "cpu.load,host=a value=3 1000000000\n"),
        ("servers.localhost.cpu.load 3 1", "cpu,host=localhost load=3 1000000000\n"),
        ("stats.a.cpu.load.x 3 1", "cpu,dc=eu,host=x.a load.x=3 1000000000\n"),
        ("two.a.b.c.d 3 1", "a.b,region=c.d value=3 1000000000\n"),
        ("servers 3 1", "servers value=3 1000000000\n"),
        ("a,b 3 1", "a\\,b value=3 1000000000\n"),
    ] {
        assert_eq!(printed(&templates, &[], line).as_deref(), Ok(expected), "{line}");
    }
}

#[test]
fn tags_of_the_listener_give_way() {
    let tags = ["host=none", "dc=1"];
    let line = printed(&["host.measurement"], &tags, "a.cpu 1 1");
    assert_eq!(line.as_deref(), Ok("cpu,dc=1,host=a value=1 1000000000\n"));
}

#[test]
fn what_is_no_point_is_said() {
    for (line, expected) in [
        ("cpu", "received \"cpu\" which doesn't have required fields"),
        ("cpu 1 2 3", "received \"cpu 1 2 3\" which doesn't have required fields"),
        ("cpu x", "field \"cpu\" value: strconv.ParseFloat: parsing \"x\": invalid syntax"),
        ("cpu NaN", "field \"cpu\" value: \"NaN\" is unsupported"),
        ("cpu 1 x", "field \"cpu\" time: strconv.ParseFloat: parsing \"x\": invalid syntax"),
        ("cpu -inf", "field \"cpu\" value: \"-Inf\" is unsupported"),
        ("cpu 1 4294967295", "timestamp out of range"),
        ("cpu 1 1e300", "timestamp out of range"),
    ] {
        let error = printed(&[], &[], line).expect_err(line);
        assert_eq!(error.to_string(), expected);
    }
    let twice = printed(&["measurement.field.field"], &[], "a.b.c 1").expect_err("two fields");
    assert_eq!(twice, LineError::TwoFields("a.b.c".to_owned()));
    let both = printed(&["measurement*.field*"], &[], "a.b.c 1").expect_err("two wildcards");
    assert!(matches!(both, LineError::TwoWildcards(_)));
}

#[test]
fn templates_that_say_nothing_are_refused() {
    let new = |template: &str| GraphiteParser::new(&[template.to_owned()], &[], ".").map(drop);
    assert_eq!(new("host.field"), Err(TemplateError::NoMeasurement("host.field".to_owned())));
    assert_eq!(new("a measurement b=c d"), Err(TemplateError::Parts("a measurement b=c d".to_owned())));
    assert_eq!(new("measurement a="), Err(TemplateError::Tag("a=".to_owned())));
    let twice = ["a.* measurement".to_owned(), "a.* measurement*".to_owned()];
    assert!(GraphiteParser::new(&twice, &[], ".").is_err());
}
