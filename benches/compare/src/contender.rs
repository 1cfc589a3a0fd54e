//! Who is measured: the ledger, the floors under it, and its peers.

/// What a contender is to the ledger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    /// The ledger itself.
    Ours,
    /// The least that has to be done: no index files, no queries.
    Core,
    /// The disk without any engine.
    Raw,
    /// An engine that a program would use instead.
    Peer,
}

/// A contender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Who {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// The ledger with its default options.
pub(crate) const OURS: Who = Who { name: "order-ledger", kind: Kind::Ours };

/// Without the views, which are fed in the background and take a core while they catch up.
pub(crate) const NO_VIEWS: Who = Who { name: "order-ledger, views off", kind: Kind::Ours };

pub(crate) const CORE: Who = Who { name: "reference core", kind: Kind::Core };

pub(crate) const RAW_DIRECT: Who = Who { name: "raw, O_DIRECT and O_DSYNC", kind: Kind::Raw };

pub(crate) const RAW_BUFFERED: Who = Who { name: "raw, write and fdatasync", kind: Kind::Raw };

/// A peer.
pub(crate) const fn peer(name: &'static str) -> Who {
    Who { name, kind: Kind::Peer }
}
