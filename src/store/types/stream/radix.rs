//! How many nodes the radix tree has in which Redis keeps a stream's nodes: XINFO STREAM shows it.
//!
//! The tree branches where keys differ. A branch is a node, a run of bytes without a branch is one,
//! and so is the end of each key. All keys have 16 bytes; so the number follows from where
//! neighbours, in order, begin to differ.

use super::id::StreamId;

/// Bytes of a key.
const KEY: usize = 16;

/// Nodes of the tree of these ids, which ascend.
pub(super) fn nodes(ids: impl Iterator<Item = StreamId>) -> usize {
    // The depths of the branches above the last key, the highest first.
    let mut branches: Vec<usize> = Vec::with_capacity(KEY);
    // The run from a branch to what is at `depth` is a node, unless there is nothing between.
    let run = |branch: Option<usize>, depth: usize| {
        usize::from(depth > branch.map_or(0, |branch| branch + 1))
    };
    let mut count = 0;
    let mut last: Option<StreamId> = None;
    for id in ids {
        if let Some(last) = last {
            let differ = (last.as_u128() ^ id.as_u128()).leading_zeros() as usize / 8;
            // The last key ends below the deeper one of the branches on its sides.
            let above = branches.last().copied().max(Some(differ));
            count += 1 + run(above, KEY);
            while let Some(branch) = branches.pop_if(|branch| *branch > differ) {
                let above = branches.last().copied().max(Some(differ));
                count += 1 + run(above, branch);
            }
            if branches.last() != Some(&differ) {
                branches.push(differ);
            }
        }
        last = Some(id);
    }
    if last.is_none() {
        return 1;
    }
    count += 1 + run(branches.last().copied(), KEY);
    while let Some(branch) = branches.pop() {
        count += 1 + run(branches.last().copied(), branch);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `radix-tree-nodes` of Redis 7.0.15 with stream-node-max-entries 1.
    #[test]
    fn the_number_is_that_of_redis() {
        let ids = |list: &[(u64, u64)]| -> Vec<StreamId> {
            list.iter().map(|&(ms, seq)| StreamId::new(ms, seq)).collect()
        };
        assert_eq!(nodes(ids(&[]).into_iter()), 1);
        let all =
            [(1, 1), (1, 2), (1, 256), (1, 257), (2, 0), (65_536, 3), (1 << 56, 3), (1 << 56, 4)];
        for (count, expected) in [(1, 2), (2, 4), (3, 7), (8, 21)] {
            assert_eq!(nodes(ids(&all[..count]).into_iter()), expected, "{count} keys");
        }
        let fewer = [all[0], all[2], all[3], all[4], all[6], all[7]];
        assert_eq!(nodes(ids(&fewer).into_iter()), 16);
    }
}
