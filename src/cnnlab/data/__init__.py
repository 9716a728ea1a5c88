"""Data sets: where they come from, how they are checked and read; `fetch.fetch` is the way in."""
