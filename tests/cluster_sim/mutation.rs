//! What is done to machines so that they fail, to see that this is noticed.

/// What is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The disk of a sentinel says that it has synced what it has not.
    NoSync,
    /// A sentinel that is started again does not know any more in which epochs it has voted.
    ForgetsVotes,
    /// Leaders acknowledge what they are to have confirmed first.
    Hasty,
}
