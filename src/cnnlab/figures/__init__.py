"""Functions that take arrays and return a matplotlib Figure. They read no files and compute no results. No torch."""
