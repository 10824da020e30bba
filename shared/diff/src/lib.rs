use maniac_base::*;
pub struct Tracker;
pub struct TrackerUpdate;
pub struct Captured {
    pub changeset: Vec<u8>,
    pub schema: Vec<u8>,
    pub update: TrackerUpdate,
}
#[derive(Debug)]
pub struct DiffError;
impl std::fmt::Display for DiffError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "x")
    }
}
impl Tracker {
    pub fn new(_: &dyn PageSource) -> Result<Tracker, DiffError> {
        Ok(Tracker)
    }
    pub fn capture(&self, _: &dyn PageSource, _: &dyn PageSource, _: &[PageNo]) -> Result<Captured, DiffError> {
        Ok(Captured { changeset: vec![], schema: vec![], update: TrackerUpdate })
    }
    pub fn advance(&mut self, _: TrackerUpdate) {}
}
