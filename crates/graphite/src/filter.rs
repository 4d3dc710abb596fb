//! Which template a name has: that of the filter whose parts, `*` among them, it begins with.

use std::collections::BTreeMap;

use crate::template::Template;

const ANY: &str = "*";

#[derive(Debug, Default)]
pub struct Filters {
    template: Option<Template>,
    /// By the next part of the name.
    next: BTreeMap<String, Filters>,
}

impl Filters {
    /// False when the filter has a template.
    pub fn insert(&mut self, filter: &str, template: Template) -> bool {
        let mut at = self;
        for part in filter.split('.') {
            at = at.next.entry(part.to_owned()).or_default();
        }
        at.template.replace(template).is_none()
    }

    /// As InfluxDB looks: a part that is named goes before `*`, and there is no way back from it.
    pub fn find(&self, name: &str) -> Option<&Template> {
        let mut at = self;
        for part in name.split('.') {
            if at.next.is_empty() {
                break;
            }
            match at.next.get(part).or_else(|| at.next.get(ANY)) {
                Some(next) => at = next,
                None => break,
            }
        }
        at.template.as_ref()
    }
}
