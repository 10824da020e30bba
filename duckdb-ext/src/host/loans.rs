//! What the extension's own statements name by a number, since the text of a statement can't hold it.
//!
//! ```text
//!   session.lend(set)  ->  7    SELECT ... WHERE _maniac_among(id, 7)    the function asks the instance's loans for 7
//! ```

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::RwLock;

/// The loans of one database instance. A number is never used twice.
#[derive(Default)]
pub struct Loans {
    last: AtomicI64,
    lent: RwLock<HashMap<i64, Arc<dyn Any + Send + Sync>>>,
}

impl Loans {
    /// The thing of a number, if it is lent and of this type.
    pub fn get<T: Any + Send + Sync>(&self, number: i64) -> Option<Arc<T>> {
        self.lent.read().get(&number)?.clone().downcast().ok()
    }
}

/// A thing can be had by its number as long as this lives.
pub struct Loan {
    pub number: i64,
    loans: Arc<Loans>,
}

impl Loan {
    pub fn new(loans: &Arc<Loans>, thing: Arc<dyn Any + Send + Sync>) -> Loan {
        let number = loans.last.fetch_add(1, Ordering::Relaxed) + 1;
        loans.lent.write().insert(number, thing);
        Loan { number, loans: loans.clone() }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let returned = self.loans.lent.write().remove(&self.number);
        // What it holds is let go of after the lock is free.
        drop(returned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_known_as_long_as_it_is_lent_in_its_instance_alone() {
        let (here, elsewhere) = (Arc::new(Loans::default()), Arc::new(Loans::default()));
        let loan = Loan::new(&here, Arc::new(7_i32));
        let other = Loan::new(&elsewhere, Arc::new("seven"));
        assert_eq!(here.get::<i32>(loan.number).as_deref(), Some(&7));
        assert!(here.get::<&str>(loan.number).is_none());
        assert_eq!(elsewhere.get::<&str>(other.number).as_deref(), Some(&"seven"));
        assert!(elsewhere.get::<i32>(loan.number).is_none());
        let number = loan.number;
        drop(loan);
        assert!(here.get::<i32>(number).is_none());
        assert_ne!(Loan::new(&here, Arc::new(8_i32)).number, number);
    }
}
