"""`python -m coordinator.cli` is `coord`."""

from __future__ import annotations

from coordinator.cli.entry import main

if __name__ == "__main__":
    main()
