//! Which log dir gets a partition.

/// A log dir as placement sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirLoad {
    /// Partitions that stand in it.
    pub partitions: usize,
    /// Bytes that can still be written to its file system.
    pub free_bytes: u64,
}

/// Places `count` new partitions, one after the other: each in the dir with the fewest partitions, of
/// those in the one with the most room, of those in the first. Gives an index into `dirs` for each.
///
/// # Panics
/// Where there is no dir.
pub fn place(dirs: &[DirLoad], count: u32) -> Vec<usize> {
    let mut dirs = dirs.to_vec();
    let emptiest = |dirs: &[DirLoad]| {
        let order = |index: &usize| {
            let DirLoad { partitions, free_bytes } = dirs[*index];
            (partitions, std::cmp::Reverse(free_bytes))
        };
        (0..dirs.len()).min_by_key(order).expect("an engine has a log dir")
    };
    (0..count)
        .map(|_| {
            let index = emptiest(&dirs);
            dirs[index].partitions += 1;
            index
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads<const N: usize>(dirs: [(usize, u64); N]) -> [DirLoad; N] {
        dirs.map(|(partitions, free_bytes)| DirLoad { partitions, free_bytes })
    }

    #[test]
    fn partitions_are_spread_evenly() {
        assert_eq!(place(&loads([(0, 5), (0, 5), (0, 5)]), 7), [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(place(&loads([(3, 5), (0, 5)]), 4), [1, 1, 1, 0]);
    }

    #[test]
    fn among_equals_the_one_with_most_room_comes_first() {
        assert_eq!(place(&loads([(1, 10), (1, 30), (1, 20)]), 3), [1, 2, 0]);
    }
}
