//! What a server offers of all this as methods of its own, whether it has a runtime or not.

/// Gives a type that has a `node()` the methods by which a server shows and changes what it holds: those of its database 0
/// among them.
macro_rules! state_methods {
    ($server:ty) => {
        /// What the server holds.
        impl $server {
            /// Everything that it holds now, to go back to.
            ///
            /// # Errors
            /// As [`Snapshot::of`](crate::embed::Snapshot::of).
            pub fn snapshot(&self) -> Result<crate::embed::Snapshot, crate::embed::StateError> {
                crate::embed::Snapshot::of(self.node())
            }

            /// Goes back to a snapshot, of whatever server.
            ///
            /// # Errors
            /// As [`Snapshot::restore`](crate::embed::Snapshot::restore).
            pub fn restore(
                &self,
                snapshot: &crate::embed::Snapshot,
            ) -> Result<(), crate::embed::StateError> {
                snapshot.restore(self.node())
            }

            /// Everything that it holds now, as text.
            ///
            /// # Errors
            /// As [`Dump::of`](crate::embed::Dump::of).
            pub fn dump(&self) -> Result<crate::embed::Dump, crate::embed::StateError> {
                self.dump_as(&crate::embed::DumpOptions::default())
            }

            /// The same, or a part of it, shown in another way.
            ///
            /// # Errors
            /// As [`Dump::of`](crate::embed::Dump::of).
            pub fn dump_as(
                &self,
                options: &crate::embed::DumpOptions,
            ) -> Result<crate::embed::Dump, crate::embed::StateError> {
                crate::embed::Dump::of(self.node(), options)
            }

            /// Records all commands that are received.
            ///
            /// # Errors
            /// As [`Recorder::start`](crate::embed::Recorder::start).
            pub fn recorder(&self) -> Result<crate::embed::Recorder, crate::embed::StateError> {
                self.record(crate::embed::Selection::everything())
            }

            /// Records some of the commands that are received.
            ///
            /// # Errors
            /// As [`Recorder::start`](crate::embed::Recorder::start).
            pub fn record(
                &self,
                selection: crate::embed::Selection,
            ) -> Result<crate::embed::Recorder, crate::embed::StateError> {
                crate::embed::Recorder::start(self.node(), selection)
            }

            /// One of its databases, to look into.
            pub fn db(&self, index: usize) -> crate::embed::Database<'_> {
                crate::embed::Database::new(self.node(), index)
            }

            /// Asserts that everything it holds is as a text says: the content of a file, say, that a dump was written to.
            ///
            /// # Panics
            /// When it is not; the message shows what differs.
            #[track_caller]
            pub fn assert_dump(&self, expected: &str, options: &crate::embed::DumpOptions) {
                crate::embed::state::assert_dump(self.dump_as(options), expected, options);
            }
        }

        $crate::embed::state::database_methods! { $server;
            keys(pattern: impl AsRef<[u8]>) -> Vec<Vec<u8>>;
            type_of(key: impl AsRef<[u8]>) -> Option<&'static str>;
            ttl(key: impl AsRef<[u8]>) -> crate::embed::Ttl;
            field_ttl(key: impl AsRef<[u8]>, field: impl AsRef<[u8]>) -> crate::embed::Ttl;
            get(key: impl AsRef<[u8]>) -> Option<Vec<u8>>;
            list(key: impl AsRef<[u8]>) -> Vec<Vec<u8>>;
            hash(key: impl AsRef<[u8]>) -> std::collections::BTreeMap<Vec<u8>, Vec<u8>>;
            set(key: impl AsRef<[u8]>) -> std::collections::BTreeSet<Vec<u8>>;
            zset(key: impl AsRef<[u8]>) -> Vec<(Vec<u8>, f64)>;
            stream(key: impl AsRef<[u8]>) -> Option<crate::embed::StreamView>;
        }

        $crate::embed::state::database_assertions! { $server;
            assert_string(key: impl AsRef<[u8]>, expected: impl AsRef<[u8]>);
            assert_missing(key: impl AsRef<[u8]>);
            assert_exists(key: impl AsRef<[u8]>);
            assert_type(key: impl AsRef<[u8]>, expected: &str);
            assert_ttl(
                key: impl AsRef<[u8]>,
                expected: impl std::ops::RangeBounds<std::time::Duration> + std::fmt::Debug
            );
            assert_no_ttl(key: impl AsRef<[u8]>);
            assert_field_ttl(
                key: impl AsRef<[u8]>,
                field: impl AsRef<[u8]>,
                expected: impl std::ops::RangeBounds<std::time::Duration> + std::fmt::Debug
            );
            assert_list(key: impl AsRef<[u8]>, expected: impl IntoIterator<Item = impl AsRef<[u8]>>);
            assert_hash(
                key: impl AsRef<[u8]>,
                expected: impl IntoIterator<Item = (impl AsRef<[u8]>, impl AsRef<[u8]>)>
            );
            assert_set(key: impl AsRef<[u8]>, expected: impl IntoIterator<Item = impl AsRef<[u8]>>);
            assert_zset(
                key: impl AsRef<[u8]>,
                expected: impl IntoIterator<Item = (impl AsRef<[u8]>, f64)>
            );
            assert_stream_len(key: impl AsRef<[u8]>, expected: usize);
            assert_group_lag(key: impl AsRef<[u8]>, group: impl AsRef<[u8]>, expected: i64);
            assert_pending(key: impl AsRef<[u8]>, group: impl AsRef<[u8]>, expected: usize);
            assert_pending_with(
                key: impl AsRef<[u8]>,
                group: impl AsRef<[u8]>,
                consumer: impl AsRef<[u8]>,
                expected: impl IntoIterator<Item = impl AsRef<str>>
            );
            assert_keys(expected: impl IntoIterator<Item = impl AsRef<[u8]>>);
        }
    };
}

/// What a [`Database`](super::Database) tells, told of database 0.
macro_rules! database_methods {
    ($server:ty; $($name:ident($($arg:ident: $of:ty),*) -> $result:ty;)*) => {
        /// What the server holds in its database 0, as [`Database`](crate::embed::Database) tells it.
        impl $server { $(
            #[doc = concat!(
                "[`Database::", stringify!($name), "`](crate::embed::Database::", stringify!($name), ") of database 0."
            )]
            ///
            /// # Errors
            /// As there.
            pub fn $name(&self, $($arg: $of),*) -> Result<$result, crate::embed::StateError> {
                self.db(0).$name($($arg),*)
            }
        )* }
    };
}

/// What a [`Database`](super::Database) asserts, asserted of database 0.
macro_rules! database_assertions {
    ($server:ty; $($name:ident($($arg:ident: $of:ty),*);)*) => {
        /// Assertions about database 0, as [`Database`](crate::embed::Database) has them.
        impl $server { $(
            #[doc = concat!(
                "[`Database::", stringify!($name), "`](crate::embed::Database::", stringify!($name), ") of database 0."
            )]
            ///
            /// # Panics
            /// When it does not hold.
            #[track_caller]
            pub fn $name(&self, $($arg: $of),*) {
                self.db(0).$name($($arg),*);
            }
        )* }
    };
}

pub(crate) use {database_assertions, database_methods, state_methods};
