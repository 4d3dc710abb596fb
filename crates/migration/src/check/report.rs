//! The list of differences, on standard output.

/// Differences of one kind that are listed; the others are counted.
const LISTED_MAX: usize = 20;

#[derive(Debug, Default)]
pub struct Report {
    differences: u64,
    points: u64,
}

impl Report {
    pub fn differ(&mut self, text: &str) {
        self.differences += 1;
        println!("{text}");
    }

    /// Lists the first of many differences.
    pub fn differ_all(&mut self, texts: &[String]) {
        texts.iter().take(LISTED_MAX).for_each(|text| println!("{text}"));
        if texts.len() > LISTED_MAX {
            println!("  and {} more", texts.len() - LISTED_MAX);
        }
        self.differences += texts.len() as u64;
    }

    /// Says more about a difference.
    pub fn detail(&self, text: &str) {
        println!("  {text}");
    }

    /// Points that were compared and are equal.
    pub fn equal(&mut self, points: u64) {
        self.points += points;
    }

    /// Whether nothing differs.
    pub fn finish(self) -> bool {
        match self.differences {
            0 => println!("equal: {} points", self.points),
            count => println!("{count} differences; {} points are equal", self.points),
        }
        self.differences == 0
    }
}
