//! The one way in which the fake takes a lock: a poisoned one is taken as it is, so that the first
//! failed assertion of a test stays the one that is reported. No guard is ever held over an await.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
