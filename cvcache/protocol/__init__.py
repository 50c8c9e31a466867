"""Who may write: a log of records, the rules of what may follow, and the attempts that hold the right."""
