//! What DEBUG may do to the bus, so that tests can have trouble when they want it.

use super::{Kind, LinkId, Member};
use crate::cluster::NodeId;

/// Which packets are thrown away as they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drops {
    /// None.
    #[default]
    Nothing,
    /// Those of one kind, by its number on the wire.
    Kind(u16),
    /// All of them.
    Everything,
}

/// Which of the links between two nodes are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Those that this node opened.
    To,
    /// Those that the other one opened.
    From,
    /// Both.
    Both,
}

impl Member {
    /// From here on these packets are thrown away as they come.
    pub fn drop_packets(&mut self, which: Drops) {
        self.drops = which;
    }

    pub(super) fn is_dropped(&self, kind: Kind) -> bool {
        match self.drops {
            Drops::Nothing => false,
            Drops::Kind(number) => kind as u16 == number,
            Drops::Everything => true,
        }
    }

    /// Closes links to or from a node. False if no such node is known.
    pub fn close_links(&mut self, id: &NodeId, ends: Ends) -> bool {
        let Some(key) = self.view.key(id) else { return false };
        let links: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.node == Some(key))
            .filter(|(_, link)| match ends {
                Ends::To => link.outbound,
                Ends::From => !link.outbound,
                Ends::Both => true,
            })
            .map(|(&id, _)| id)
            .collect();
        for link in links {
            self.close(link);
        }
        true
    }
}
