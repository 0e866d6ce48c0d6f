//! The keyspace section of INFO over all shards.

/// `db0:keys=1,expires=2,avg_ttl=3` of several nodes, added up per database.
pub(super) fn sum_of_keyspaces(text: &str) -> String {
    let mut databases = std::collections::BTreeMap::<u32, (u64, u64)>::new();
    for line in text.lines() {
        let Some((database, fields)) = line.trim().split_once(':') else { continue };
        let Some(Ok(database)) = database.strip_prefix("db").map(str::parse) else { continue };
        let field = |name: &str| {
            fields
                .split(',')
                .find_map(|f| f.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok())
                .unwrap_or(0)
        };
        let sum = databases.entry(database).or_default();
        sum.0 += field("keys");
        sum.1 += field("expires");
    }
    databases
        .iter()
        .map(|(database, (keys, expires))| {
            format!("db{database}:keys={keys},expires={expires},avg_ttl=0\r\n")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyspaces_of_all_shards_are_added_up() {
        let text = "# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=9\r\ndb3:keys=1,expires=0\r\n\
                    db0:keys=3,expires=0,avg_ttl=1\r\nnonsense\r\n";
        assert_eq!(
            sum_of_keyspaces(text),
            "db0:keys=5,expires=1,avg_ttl=0\r\ndb3:keys=1,expires=0,avg_ttl=0\r\n"
        );
    }
}
