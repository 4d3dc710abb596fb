//! Windows that come to nothing.

/// Windows whose points leave nothing. To InfluxDB such a window looks like the end of all points; coming twice, with
/// nothing between, it is.
#[derive(Default)]
pub(super) struct Gaps {
    pub produced: bool,
    pub has_ended: bool,
}

impl Gaps {
    pub fn gap(&mut self) {
        self.has_ended |= !self.produced;
        self.produced = false;
    }
}
