"""At which moments a schedule is due."""
