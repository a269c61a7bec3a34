//! A value that many hold and few change.

use std::{ops, sync::Arc};

use serde::{Deserialize, Serialize};

/// A value that is shared until somebody changes it: who does has a copy from then on. It is written and
/// compared as the value itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shared<T>(Arc<T>);

impl<T: PartialEq> Shared<T> {
    /// Holds what `other` holds, if that is the same.
    pub fn join(&mut self, other: &Self) -> bool {
        let same = self == other;
        if same {
            self.0 = other.0.clone();
        }
        same
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self(value.into())
    }
}

impl<T> ops::Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> ops::DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_changes_it_has_a_copy() {
        let one = Shared::from(vec![1]);
        let mut other = one.clone();
        assert!(Arc::ptr_eq(&one.0, &other.0));
        other.push(2);
        assert_eq!((&one[..], &other[..]), (&[1][..], &[1, 2][..]));
    }

    #[test]
    fn the_same_is_held_once() {
        let one = Shared::from(vec![1]);
        let [mut same, mut other] = [Shared::from(vec![1]), Shared::from(vec![2])];
        assert!(same.join(&one) && !other.join(&one));
        assert!(Arc::ptr_eq(&one.0, &same.0));
        assert_eq!(*other, [2]);
    }

    #[test]
    fn it_is_written_as_what_it_is() {
        let text = serde_json::to_string(&Shared::from(vec![1])).unwrap();
        assert_eq!(text, "[1]");
        assert_eq!(serde_json::from_str::<Shared<Vec<u8>>>(&text).unwrap(), Shared::from(vec![1]));
    }
}
