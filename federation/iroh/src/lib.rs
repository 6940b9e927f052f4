//! The members' plane: streams between nodes over iroh, by a preset of our own. Nobody outside is asked
//! where a node is, and no relay is used, unless the owner configured it.
